"""Checks of the database file find what was damaged, and nothing else."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import sqlite_utils

from queuectl_nb.model.times import MAX_TIME
from queuectl_nb.store.checks import MIN_SQLITE_VERSION, SQLITE_VERSION, Checks
from queuectl_nb.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store
    from tests.store.conftest import StoreHarness


def test_an_intact_queue(harness: StoreHarness) -> None:
    """All checks pass, with jobs in every state."""
    harness.add_one_per_state()
    checks = Checks(harness.store.db)
    assert checks.integrity_errors() == []
    assert checks.missing_objects() == []
    assert checks.tally_mismatches() == []
    assert checks.invalid_times() == []
    assert checks.schema_versions() == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert checks.journal_mode() == "wal"
    assert SQLITE_VERSION >= MIN_SQLITE_VERSION


def test_no_connection_stays_open(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database in memory that has the current schema is closed."""
    opened: list[sqlite_utils.Database] = []

    class Recorded(sqlite_utils.Database):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            opened.append(self)

    monkeypatch.setattr(sqlite_utils, "Database", Recorded)
    assert Checks(store.db).missing_objects() == []
    (database,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.conn.execute("SELECT 1")


def test_damage_is_named(store: Store) -> None:
    """Each check names what is wrong."""
    checks, connection = Checks(store.db), store.db.connection()
    connection.execute("DROP VIEW job_view")
    connection.execute("DROP INDEX jobs_ready")
    assert checks.missing_objects() == ["job_view", "jobs_ready"]
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    assert checks.schema_versions() == (SCHEMA_VERSION + 1, SCHEMA_VERSION)
    connection.execute("INSERT INTO tally (queue, state, n) VALUES ('q', 'pending', 0)")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, 'n INTEGER', 'n INTEGER CHECK (n > 0)') WHERE name = 'tally'"
    )
    connection.execute("PRAGMA writable_schema = RESET")
    assert checks.integrity_errors() == ["CHECK constraint failed in tally"]


def test_entries_of_a_partial_index(harness: StoreHarness) -> None:
    """An index that lists a job that is not ready would have it claimed, and is named with any version of SQLite."""
    harness.add("ready")
    checks, connection = Checks(harness.store.db), harness.store.db.connection()
    assert checks.partial_index_errors() == []
    change = "UPDATE sqlite_schema SET sql = replace(sql, 'ready = {}', 'ready = {}') WHERE name = 'jobs_ready'"
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(change.format(1, 2))
    connection.execute("PRAGMA writable_schema = RESET")
    assert checks.partial_index_errors() == ["wrong # of entries in index jobs_ready"]
    assert checks.integrity_errors() == checks.partial_index_errors()
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(change.format(2, 1))
    connection.execute("PRAGMA writable_schema = RESET")


def test_wrong_counts_and_times(harness: StoreHarness) -> None:
    """A count that differs from the jobs is named by queue and state, an invalid time by job and column."""
    harness.add("a", "b", queue="q")
    harness.add("c")
    checks, connection = Checks(harness.store.db), harness.store.db.connection()
    connection.execute("UPDATE tally SET n = n + 1 WHERE queue = 'q'")
    assert checks.tally_mismatches() == ["q pending"]
    connection.execute("UPDATE tally SET n = n - 1 WHERE queue = 'q'")
    for seq, column, value in [(1, "created_at", -1.0), (2, "run_at", MAX_TIME + 1), (3, "updated_at", MAX_TIME)]:
        connection.execute(f"UPDATE jobs SET {column} = ? WHERE seq = ?", (value, seq))
    assert sorted(checks.invalid_times()) == [("a", "created_at", -1.0), ("b", "run_at", MAX_TIME + 1)]
    connection.execute("UPDATE jobs SET created_at = 1, run_at = 1")


def test_known_tokens(harness: StoreHarness) -> None:
    """Tokens of attempts, running or ended, are known."""
    harness.add("a", "b")
    first = harness.claim_job("a")
    harness.settle(first)
    second = harness.claim_job("b")
    found = Checks(harness.store.db).known_tokens({first.token, second.token, "f" * 32})
    assert found == {first.token, second.token}
    assert Checks(harness.store.db).known_tokens({"f" * 32}) == set()
