"""Checks of the database file: integrity, schema, and whether the job counts are right. Uses sqlite-utils."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from sqlite_utils import Database as Tables

from queuectl_nb.model.validation import MAX_TIME
from queuectl_nb.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from queuectl_nb.store.connection import Database

__all__ = ["MIN_SQLITE_VERSION", "Maintenance", "sqlite_version"]

MIN_SQLITE_VERSION = (3, 38, 0)
"""The first version with built-in JSON functions, which the schema uses."""


def sqlite_version() -> tuple[int, ...]:
    """Return the version of the SQLite library in use."""
    return sqlite3.sqlite_version_info


class Maintenance:
    """Checks of a queue's file."""

    def __init__(self, db: Database) -> None:
        """Check ``db``, on this thread's connection."""
        self._db = db
        self._tables = Tables(db.connection())

    def integrity_errors(self) -> list[str]:
        """Return the errors that ``PRAGMA quick_check`` finds."""
        with self._db.translate_errors():
            found = [line for (line,) in self._tables.execute("PRAGMA quick_check")]
        return [] if found == ["ok"] else found

    def missing_objects(self) -> list[str]:
        """Return tables, views and indexes of the current schema that the file lacks."""
        fresh = Tables(memory=True)
        from queuectl_nb.store.migrations import migrations

        migrations.apply(fresh)
        sql = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_%' ESCAPE '\\'"
        with self._db.translate_errors():
            there = {name for (name,) in self._tables.execute(sql)}
        return sorted({name for (name,) in fresh.execute(sql)} - there)

    def schema_versions(self) -> tuple[int, int]:
        """Return the file's schema version, and that of this code."""
        with self._db.translate_errors():
            (version,) = self._tables.execute("PRAGMA user_version").fetchone()
        return version, SCHEMA_VERSION

    def tally_mismatches(self) -> list[str]:
        """Return the queues and states whose count in ``tally`` is wrong; reads all jobs."""
        sql = """
            SELECT queue || ' ' || state FROM (
                SELECT queue, state, n FROM tally WHERE n > 0
                UNION ALL
                SELECT queue, state, -count(*) FROM jobs GROUP BY queue, state
            ) GROUP BY queue, state HAVING sum(n) <> 0
        """
        with self._db.translate_errors():
            return [name for (name,) in self._tables.execute(sql)]

    def invalid_times(self) -> list[tuple[str, str, object]]:
        """Return id, column and value of the times of jobs that cannot be displayed; reads all jobs."""
        columns = ("run_at", "created_at", "updated_at", "started_at", "finished_at")
        each = "SELECT id, {0!r}, {0} FROM jobs WHERE NOT {0} BETWEEN 0 AND {1!r}"
        sql = " UNION ALL ".join(each.format(column, MAX_TIME) for column in columns)
        with self._db.translate_errors():
            return self._tables.execute(sql).fetchall()

    def known_tokens(self, tokens: set[str]) -> set[str]:
        """Return those of ``tokens`` that belong to an attempt."""
        with self._db.translate_errors():
            known = self._tables.execute("SELECT token FROM attempts")
            return {token for (token,) in known if token in tokens}

    def journal_mode(self) -> str:
        """Return the journal mode: ``wal``, or ``delete`` on a network file system."""
        with self._db.translate_errors():
            mode: str = self._tables.execute("PRAGMA journal_mode").fetchone()[0]
        return mode
