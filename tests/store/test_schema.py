"""The database file: created, migrated, recognized, and left unchanged if it is not a queue."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlite_utils import Database as Utils
from sqlite_utils import Migrations

import queuectl_nb
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.state import State
from queuectl_nb.store import migrations, schema
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable


def _shape(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY 2")
    return [row for row in found if row[2] not in ("sqlite_sequence", "_sqlite_migrations")]


def _steps() -> list[str]:
    folder = resources.files("queuectl_nb.store").joinpath("steps")
    return [each.read_text() for each in sorted(folder.iterdir(), key=lambda each: each.name)]


def _count_files(folder: Path) -> set[str]:
    return {each.name for each in folder.rglob("*")}


# ---------------------------------------------------------------------- made and migrated


def test_migrations_equal_their_sql(template_path: Path) -> None:
    """Migrating an empty file gives exactly the schema of the steps' SQL, including their marks."""
    plain = sqlite3.connect(":memory:")
    for step in _steps():
        plain.executescript(step)
    made = sqlite3.connect(template_path)
    assert _shape(made) == _shape(plain)
    assert made.execute("PRAGMA application_id").fetchone()[0] == schema.APPLICATION_ID
    assert made.execute("PRAGMA user_version").fetchone()[0] == schema.SCHEMA_VERSION == len(_steps())
    assert made.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert made.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_an_empty_file_becomes_a_queue(tmp_path: Path, template_path: Path) -> None:
    """An empty file, as created by ``touch``, becomes a new private queue."""
    path = tmp_path / "q.db"
    path.touch()
    path.chmod(0o644)
    store = Store(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.jobs.db.path == path
    assert _shape(store.db.connection()) == _shape(sqlite3.connect(template_path))


def test_older_file_is_migrated(queue_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the previous release keeps its jobs and gets the new step once."""
    old = Store(queue_path)
    with old.db.write() as connection:
        connection.execute("INSERT INTO settings (key, value) VALUES ('timeout', '7')")
    old.db.close()
    later = Migrations("queuectl")
    later(name="step_0001_the_queue")(migrations.step_0001_the_queue)
    runs = []

    def step_0002(db: Utils) -> None:
        runs.append(db.execute("SELECT count(*) FROM settings").fetchone()[0])
        db.execute("ALTER TABLE jobs ADD COLUMN colour TEXT")

    later(name="step_0002")(step_0002)
    monkeypatch.setattr(migrations, "migrations", later)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    for _ in range(2):
        new = Store(queue_path)
        assert new.settings.read().timeout == 7
        assert new.db.connection().execute("SELECT count(colour) FROM jobs").fetchone() == (0,)
        new.db.close()
    assert runs == [1]


OPENER = """
from pathlib import Path
from types import SimpleNamespace
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import insert_jobs
from queuectl_nb.store.store import Store
# go
store = Store(Path(sys.argv[1]))
insert_jobs(store.db, [JobSpec("true", id=sys.argv[2])], cwd="/", recorded_env={}, now=time.time())
print("migrated" if "sqlite_utils" in sys.modules else "found")
"""


def test_concurrent_creation(tmp_path: Path, processes: Any) -> None:
    """Of eight processes that open a missing file one creates the schema, none fails, and each enqueues its job."""
    for number in range(8):
        processes.add(OPENER, tmp_path / "q.db", f"job-{number}")
    assert sorted(processes.start_all()) == ["found\n"] * 7 + ["migrated\n"]
    store = Store(tmp_path / "q.db")
    assert store.reader.counts()[State.PENDING] == 8
    assert store.db.connection().execute("SELECT count(*) FROM _sqlite_migrations").fetchone() == (1,)


KILLED = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from queuectl_nb.store import migrations
from queuectl_nb.store.store import Store

def interrupted(name, whole=migrations._statements):
    for number, statement in enumerate(whole(name)):
        if number == int(sys.argv[2]):
            print("in the middle", flush=True)
            time.sleep(60)
        yield statement

migrations._statements = interrupted
Store(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("after", [0, 9])
def test_kill_during_a_migration(tmp_path: Path, after: int) -> None:
    """After kill -9 between two statements of a migration the file opens at the next attempt."""
    path = tmp_path / "q.db"
    env = {**os.environ, "PYTHONPATH": str(Path(queuectl_nb.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(after)], stdout=subprocess.PIPE, text=True, env=env
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    store = Store(path)
    assert store.reader.counts()[State.PENDING] == 0
    assert store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)


# ---------------------------------------------------------------------- not for us


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
        connection.execute("INSERT INTO mine VALUES (1)")


def _foreign_wal(path: Path) -> None:
    _foreign(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = wal")
    connection.close()


def _of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 42")


def _versioned(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")


@pytest.mark.parametrize("make", [_foreign, _foreign_wal, _of_another_program, _versioned])
def test_foreign_database(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A SQLite database that is not a queue is exit code 3; nothing is changed or created beside it."""
    path = tmp_path / "mine.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(BadEnvironment, match="is a SQLite database but not a queue") as caught:
        Store(path)
    assert caught.value.exit_code == 3
    assert path.read_bytes() == before
    assert _count_files(tmp_path) == {"mine.db"}


def test_newer_queue(queue_path: Path) -> None:
    """The file of a newer release is exit code 3 with the remedy, and unchanged."""
    with sqlite3.connect(queue_path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    before = queue_path.read_bytes()
    with pytest.raises(
        BadEnvironment, match=r"newer queuectl .*; upgrade with 'pip install -U queuectl-nb'$"
    ) as caught:
        Store(queue_path)
    assert caught.value.exit_code == 3
    assert queue_path.read_bytes() == before
    assert _count_files(queue_path.parent) == {"queue.db"}


def _random(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"hello, world\n",
        b"\0" * 4096,
        _random(100),
        _random(4096),
        _random(100_000),
        b"SQLite format 3\0" + _random(5000),
    ],
    ids=lambda raw: f"{len(raw)} bytes",
)
def test_other_files(tmp_path: Path, raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random bytes, zeros and text of any length are exit code 3 with the file's name; the file is closed unchanged."""
    opened: list[sqlite3.Connection] = []

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        opened.append(original(*args, **kwargs))
        return opened[-1]

    original = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    path = tmp_path / "q.db"
    path.write_bytes(raw)
    with pytest.raises(BadEnvironment, match=r"q\.db is (not a queue|damaged)") as caught:
        Store(path)
    assert caught.value.exit_code == 3
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    assert path.read_bytes() == raw
    assert _count_files(tmp_path) == {"q.db"}


@pytest.mark.parametrize("size", [50, 512, 4096, 5000, 40_960])
def test_truncated_queue(queue_path: Path, size: int) -> None:
    """A truncated queue is exit code 3 at its first use, and unchanged."""
    os.truncate(queue_path, size)
    before = queue_path.read_bytes()
    with pytest.raises(BadEnvironment, match=r"queue\.db is (not a queue|damaged)") as caught:
        Store(queue_path).reader.counts()
    assert caught.value.exit_code == 3
    assert queue_path.read_bytes() == before


def test_a_failed_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised as it is, and the transaction is rolled back."""

    def fail(_: object) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise ZeroDivisionError

    connection = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    monkeypatch.setattr(migrations, "migrations", SimpleNamespace(apply=fail))
    with pytest.raises(ZeroDivisionError):
        migrations.migrate(connection, 1, 1)
    assert not connection.in_transaction
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == []
    connection.close()
