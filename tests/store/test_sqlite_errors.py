"""Files that are locked, missing, full or read-only: the named error, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import queuectl_nb
from queuectl_nb.model.errors import BadEnvironment, Busy, QueuectlError
from queuectl_nb.model.state import State
from queuectl_nb.store import shared_locks
from queuectl_nb.store.sqlite_errors import is_disk_full, translate
from queuectl_nb.store.store import Store
from tests.engine.harness import fill_disk, within
from tests.store.stored_jobs import add_job, job_ids

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(queuectl_nb.__file__).parents[1]


def test_locked_by_another_program(store: Store) -> None:
    """A program that holds SQLite's write lock is exit code 4 after the timeout; reading still works."""
    add_job(store, "a")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.db.set_lock_timeout(0.3)
    began = time.monotonic()
    with pytest.raises(Busy, match=r"another program has held .*queue\.db locked for 0\.3 seconds") as caught:
        add_job(store, "b")
    assert time.monotonic() - began >= 0.25
    assert caught.value.exit_code == 4
    assert job_ids(store) == ["a"]
    other.execute("ROLLBACK")
    add_job(store, "b")
    assert job_ids(store) == ["a", "b"]


@pytest.mark.parametrize("sql", ["SELECT ?", "INSERT INTO jobs (id) VALUES (NULL)"])
def test_errors_of_the_program(store: Store, sql: str) -> None:
    """What only a fault of this package can cause is raised as it is, not as an error of the file."""
    with pytest.raises((sqlite3.ProgrammingError, sqlite3.IntegrityError)), store.db.translate_errors():
        store.db.connection().execute(sql)


def test_total_lock_timeout(store: Store) -> None:
    """Time spent waiting for the write lock counts towards the timeout for SQLite's lock."""
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    inside = threading.Event()

    def hold() -> None:
        with store.db.write_lock.request(5):
            inside.set()
            time.sleep(1)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    store.db.set_lock_timeout(1.5)
    with within(2.2), pytest.raises(Busy):
        add_job(store, "a")
    holder.join()
    assert store.db.connection().execute("PRAGMA busy_timeout").fetchone() == (1500,)


def _delete(path: Path) -> None:
    path.unlink()


def _replace(path: Path) -> None:
    other = path.with_name("other")
    shutil.copyfile(path, other)
    other.replace(path)


def _remake(path: Path) -> None:
    path.unlink()
    path.touch()


@pytest.mark.parametrize("harm", [_delete, _replace, _remake])
@pytest.mark.parametrize("use", ["write", "read", "version"])
def test_replaced_file(store: Store, harm: Callable[[Path], None], use: str) -> None:
    """A file deleted or replaced under an open store is exit code 3 at the next use."""
    add_job(store, "a")
    harm(store.path)
    before = store.path.read_bytes() if store.path.exists() else None
    with pytest.raises(BadEnvironment, match="deleted or replaced while in use") as caught:
        {"write": lambda: add_job(store, "b"), "read": store.reader.counts, "version": store.db.data_version}[use]()
    assert caught.value.exit_code == 3
    assert store.db.is_replaced()
    assert (store.path.read_bytes() if store.path.exists() else None) == before


def test_emptied_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file emptied under an open store is exit code 3 for all, and its log stays."""
    ids = [f"a{number}" for number in range(3)]
    for job_id in ids:
        add_job(store, job_id)
    content = store.path.read_bytes()
    os.truncate(store.path, 0)
    for use in (lambda: add_job(store, "b"), store.reader.counts, store.db.data_version):
        with pytest.raises(BadEnvironment, match="was emptied while in use; restore a backup"):
            use()
    assert store.db.is_replaced()
    monkeypatch.setattr(shared_locks, "WAIT_FOR_SIDECARS_S", 0.1)
    with pytest.raises(BadEnvironment, match="is in use, but was emptied"):
        Store(store.path)
    store.path.write_bytes(content)
    assert job_ids(Store(store.path)) == ids, "nobody has deleted the log"


@pytest.mark.parametrize("suffixes", [("-wal",), ("-shm",), ("-wal", "-shm")])
@pytest.mark.parametrize("use", ["write", "read", "version"])
def test_deleted_log(store: Store, suffixes: tuple[str, ...], use: str) -> None:
    """A deleted log is exit code 3 at the next use, and loses nothing: the last to close moves it into the file."""
    add_job(store, "a")
    for suffix in suffixes:
        os.unlink(f"{store.path}{suffix}")
    with pytest.raises(BadEnvironment, match=f"{suffixes[0]} was deleted or replaced while in use; open the"):
        {"write": lambda: add_job(store, "b"), "read": store.reader.counts, "version": store.db.data_version}[use]()
    assert store.db.is_replaced()
    assert job_ids(Store(store.path)) == ["a"]
    add_job(store, "b")  # this process has opened the new log with both
    assert job_ids(Store(store.path)) == ["a", "b"]


@pytest.mark.parametrize(
    ("user", "harm"),
    [("this process", "renamed"), ("another", "renamed"), ("another", "log deleted"), ("another", "memory deleted")],
)
def test_a_second_log_is_refused(
    template_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str, harm: str
) -> None:
    """A queue in use is not opened with a second log, which would make two queues of it; an open waits for its end."""
    path, opened = tmp_path / "used.db", tmp_path / "renamed.db"
    shutil.copyfile(template_path, path)
    path.chmod(0o600)
    source = (
        f"import queuectl_nb as m\nq = m.Queue({str(path)!r})\nq.enqueue('true', id='a')\nprint(1, flush=True)\ninput()"
    )
    store = process = None
    if user == "another":
        process = subprocess.Popen(
            [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        assert process.stdout.readline()
    else:
        store = Store(path)
        add_job(store, "a")
    try:
        if harm == "renamed":
            path.rename(opened)
        else:
            os.unlink(f"{path}{'-wal' if harm == 'log deleted' else '-shm'}")
            opened = path
        monkeypatch.setattr(shared_locks, "WAIT_FOR_SIDECARS_S", 0.1)
        with pytest.raises(BadEnvironment, match="is in use, but its files -wal and -shm are not beside it"):
            Store(opened)
    finally:
        opened.rename(path)
        if process is not None:
            process.communicate(b"\n", timeout=60)
    monkeypatch.setattr(shared_locks, "WAIT_FOR_SIDECARS_S", 60)
    if store is not None:
        store.db.close()
    assert job_ids(Store(path)) == ["a"]


def test_full_disk(mounted: Callable[[str], Path], template_path: Path) -> None:
    """On a full disk enqueues are exit code 3, acknowledged jobs stay, and with space again enqueues work."""
    folder = mounted("size=1m")
    path = folder / "q.db"
    shutil.copyfile(template_path, path)
    store = Store(path)
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * 200_000)
    acknowledged = []
    with pytest.raises(QueuectlError) as caught:  # noqa: PT012 - the one that is too many
        for number in range(1000):
            add_job(store, f"job-{number}", "x" * 5000)
            acknowledged.append(f"job-{number}")
    assert caught.value.exit_code == 3
    assert "disk" in str(caught.value)
    assert acknowledged
    assert job_ids(store) == acknowledged
    with pytest.raises(QueuectlError):
        add_job(store, "too-much", "x" * 90_000)
    ballast.unlink()
    add_job(store, "with-room", "x" * 5000)
    store.db.close()
    assert job_ids(Store(path)) == [*acknowledged, "with-room"]
    assert store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_creation_on_a_full_disk(mounted: Callable[[str], Path]) -> None:
    """A queue that cannot be created for lack of space is exit code 3; with space it is created."""
    folder = mounted("size=600k")
    ballast = folder / "ballast"
    fill_disk(ballast)
    with pytest.raises(BadEnvironment) as caught:
        Store(folder / "q.db")
    assert str(caught.value).isprintable()
    ballast.unlink()
    assert Store(folder / "q.db").reader.counts()[State.PENDING] == 0


def test_read_only_mount(mounted: Callable[..., Path], queue_path: Path, tmp_path: Path) -> None:
    """On a read-only mount a queue is exit code 3 with its name, and nothing is lost."""
    store = Store(queue_path)
    add_job(store, "a")
    store.db.close()
    folder = mounted("ro", tmp_path)
    for name in ("queue.db", "new.db"):
        with pytest.raises(BadEnvironment, match=name.replace(".", r"\.")) as caught:
            add_job(Store(folder / name), "b")
        assert caught.value.exit_code == 3
        assert "read-only file system" in str(caught.value).lower()
    assert job_ids(Store(queue_path)) == ["a"]


def test_mount_that_turns_read_only(mounted: Callable[..., Path], template_path: Path) -> None:
    """A mount that turns read-only under an open store is exit code 3 at the next write."""
    folder = mounted("size=1m")
    path = folder / "q.db"
    shutil.copyfile(template_path, path)
    store = Store(path)
    add_job(store, "a")
    store.db.close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with pytest.raises(BadEnvironment) as caught:
        add_job(store, "b")
    assert caught.value.exit_code == 3
    assert "read-only file system" in str(caught.value)
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    add_job(store, "b")
    assert job_ids(store) == ["a", "b"]


def test_damaged_page(queue_path: Path) -> None:
    """A page overwritten with noise is exit code 3 at the first use that reads it."""
    store = Store(queue_path)
    add_job(store, "a")
    with store.db.read() as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    store.db.close()
    with queue_path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xa5" * size)
    with pytest.raises(BadEnvironment, match=r"queue\.db is damaged") as caught:
        Store(queue_path).jobs.get("a")
    assert caught.value.exit_code == 3


def test_own_sql_errors(store: Store) -> None:
    """An invalid statement of ours raises the original error, so that it is recognized as a bug."""
    with pytest.raises(sqlite3.ProgrammingError), store.db.read() as connection:
        connection.execute("SELECT ?")
    with pytest.raises(sqlite3.IntegrityError), store.db.write() as connection:
        connection.execute("INSERT INTO clock (only_row) VALUES (2)")
    add_job(store, "a")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, "the queue is busy: another program has held {path} locked for 1.5 seconds"),
        (sqlite3.SQLITE_LOCKED, "the queue is busy: another program has held {path} locked for 1.5 seconds"),
        (sqlite3.SQLITE_NOTADB, "{path} is not a queue (not a SQLite file); choose another file"),
        (sqlite3.SQLITE_CORRUPT, "{path} is damaged (why); move it away and restore a backup"),
        (sqlite3.SQLITE_FULL, "the disk of {path} is full; nothing was changed; free some space and try again"),
        (sqlite3.SQLITE_READONLY, "{path} or its directory is not writable; check permissions and mount options"),
        (sqlite3.SQLITE_CANTOPEN, "{path} cannot be opened; check permissions of file and directory, and the mount"),
        (sqlite3.SQLITE_IOERR | 5 << 8, "reading or writing {path} failed (why); check the disk and its free space"),
        (sqlite3.SQLITE_ERROR, "{path}: why"),
    ],
)
def test_every_cause_has_a_remedy(tmp_path: Path, code: int, expected: str) -> None:
    """The error names the file, the cause and what to do."""
    error = sqlite3.OperationalError("why")
    error.sqlite_errorcode = code
    found = translate(error, tmp_path / "queue.db", 1.5)
    assert str(found) == expected.format(path=tmp_path / "queue.db")
    assert isinstance(found, Busy if "busy" in expected else BadEnvironment)


def test_errors_without_a_code(tmp_path: Path) -> None:
    """Python's own errors of the module have no code."""
    assert str(translate(sqlite3.Error("why"), tmp_path / "queue.db", 1.5)) == f"{tmp_path / 'queue.db'}: why"
    assert not is_disk_full(BadEnvironment("why"))
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    wrapped = BadEnvironment("why")
    wrapped.__cause__ = full
    assert is_disk_full(wrapped)
    full.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    assert not is_disk_full(wrapped)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL])
def test_too_many_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Where SQLite cannot open a file, the limit of open files is named if it is reached."""
    monkeypatch.setattr("queuectl_nb.store.sqlite_errors.open_files_error", lambda: OSError(errno.EMFILE, "x"))
    error = sqlite3.OperationalError("why")
    error.sqlite_errorcode = code
    text = str(translate(error, tmp_path / "queue.db", 1.5))
    limited = text.startswith(f"{tmp_path / 'queue.db'} cannot be opened: too many open files: the limit is ")
    assert limited == (code != sqlite3.SQLITE_FULL)


def test_a_deleted_file_whose_log_is_in_use(store: Store) -> None:
    """The new, empty file does not fit its log; the disk is not blamed."""
    add_job(store, "a")
    store.path.unlink()
    with pytest.raises(BadEnvironment, match="it was deleted, replaced or cut while in use; end the programs"):
        Store(store.path)
