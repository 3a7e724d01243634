"""A backup is consistent while others write, appears when it is complete, and replaces nothing unasked."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import BadEnvironment, BadInput, Busy
from queuectl_nb.model.state import State
from queuectl_nb.store.backup import write_backup
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.store.conftest import StoreHarness


def _ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [job_id for (job_id,) in connection.execute("SELECT id FROM jobs ORDER BY seq")]


def test_a_backup_holds_what_is_still_in_the_write_ahead_log(harness: StoreHarness, tmp_path: Path, umask: Any) -> None:
    """The copy has all committed jobs and mode 0600 whatever the umask, and nothing else is left in the directory."""
    harness.add("first", "second")
    folder = tmp_path / "a folder?#%"
    folder.mkdir()
    with umask(0):
        path, jobs = write_backup(harness.store.db, folder / "backup.db")
    assert (path, jobs) == (folder / "backup.db", 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(folder.iterdir()) == [path]
    assert _ids(path) == ["first", "second"]
    copy = Store(path)
    assert copy.reader.counts()[State.PENDING] == 2
    copy.db.close()


def test_a_backup_is_one_snapshot(harness: StoreHarness, tmp_path: Path) -> None:
    """A thread enqueues pairs of jobs during the backup: the copy has both of a pair or none, as many as reported."""
    harness.enqueue(*({"command": "x" * 5000, "id": f"big-{number}"} for number in range(2000)))
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            harness.add(f"left-{number}", f"right-{number}")
            number += 1
        harness.store.db.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [write_backup(harness.store.db, tmp_path / f"backup-{number}.db") for number in range(3)]
    finally:
        stop.set()
        writer.join()
    for path, jobs in found:
        ids = _ids(path)
        assert len(ids) == jobs
        assert sum(each.startswith("left") for each in ids) == sum(each.startswith("right") for each in ids)


def test_an_existing_file_is_replaced_only_with_force(harness: StoreHarness, tmp_path: Path) -> None:
    """Without ``force`` an existing file is left as it is, with it the backup takes its place."""
    harness.add("one")
    target = tmp_path / "backup.db"
    target.write_text("mine")
    with pytest.raises(BadInput, match="exists; choose another file, or replace it with force=True"):
        write_backup(harness.store.db, target)
    assert target.read_text() == "mine"
    write_backup(harness.store.db, target, force=True)
    assert _ids(target) == ["one"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda target, _: target.mkdir(), "is not a regular file"),
        (lambda target, _: os.mkfifo(target), "is not a regular file"),
        (lambda target, _: target.symlink_to("/nowhere/at/all"), "is not a regular file"),
        (lambda target, path: target.symlink_to(path), "is the queue itself"),
    ],
    ids=["directory", "fifo", "dangling link", "the queue"],
)
def test_anything_but_a_file_is_refused(
    harness: StoreHarness, tmp_path: Path, make: Callable[[Path, Path], None], why: str, force: bool
) -> None:
    """A directory, a FIFO, a link and the queue's own file are never replaced."""
    target = tmp_path / "backup.db"
    make(target, harness.store.path)
    before = target.lstat()
    with pytest.raises(BadInput, match=why):
        write_backup(harness.store.db, target, force=force)
    after = target.lstat()  # its access time may change
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)


def test_an_empty_path_is_refused(harness: StoreHarness) -> None:
    """It is not taken for the current directory."""
    with pytest.raises(BadInput, match="needs the path of a file"):
        write_backup(harness.store.db, "")


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_refused(harness: StoreHarness, tmp_path: Path, name: str) -> None:
    """The console cannot pass such a name; a notebook and Python can."""
    with pytest.raises(BadInput, match="cannot be the name of a file"):
        write_backup(harness.store.db, tmp_path / name)


def test_a_queue_in_use_is_not_replaced(harness: StoreHarness, tmp_path: Path) -> None:
    """The write-ahead log of another queue would be read as a part of the backup."""
    other = Store(tmp_path / "other.db")
    with pytest.raises(BadEnvironment, match=r"other\.db-\w+ exists, so a program may be using that queue"):
        write_backup(harness.store.db, other.path, force=True)
    other.db.close()
    write_backup(harness.store.db, other.path, force=True)


def test_a_directory_that_does_not_exist_is_named(harness: StoreHarness, tmp_path: Path) -> None:
    """A backup that cannot be written leaves nothing behind."""
    with pytest.raises(BadEnvironment, match=r"cannot write the backup .*gone/b\.db: No such file"):
        write_backup(harness.store.db, tmp_path / "gone" / "b.db")


def test_a_full_disk_leaves_no_partial_backup(harness: StoreHarness, mounted: Callable[[str], Path]) -> None:
    """The error names the backup's disk, not the queue's."""
    folder = mounted("size=64k")
    harness.enqueue(*({"command": "x" * 5000, "id": f"big-{number}"} for number in range(100)))
    with pytest.raises(BadEnvironment, match=r"the disk of .*/b\.db is full"):
        write_backup(harness.store.db, folder / "b.db")
    assert list(folder.iterdir()) == []


def test_an_interrupt_leaves_no_partial_backup(
    harness: StoreHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl+C ends a backup between two steps, and neither a file nor a snapshot is left."""
    monkeypatch.setattr("queuectl_nb.store.backup.STEP_PAGES", 1)
    calls = iter(range(5))

    def interrupt(*_: object) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    real = harness.store.db.connection()

    class _Connection:
        """A connection of which the backup is interrupted after some steps."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def backup(self, target: sqlite3.Connection, *, pages: int, progress: object) -> None:
            assert pages == 1
            assert callable(progress)
            real.backup(target, pages=pages, progress=interrupt)

    monkeypatch.setattr(harness.store.db, "connection", _Connection)
    with pytest.raises(KeyboardInterrupt):
        write_backup(harness.store.db, tmp_path / "b.db")
    monkeypatch.undo()
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("b.db")] == []
    assert not harness.store.db.connection().in_transaction


def test_an_interrupt_after_the_backup_is_complete(
    harness: StoreHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is raised as it is, and the backup stays."""
    replace = os.replace

    def interrupted(source: str, target: str) -> None:
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    harness.add("kept")
    with pytest.raises(KeyboardInterrupt):
        write_backup(harness.store.db, tmp_path / "backup.db")
    assert _ids(tmp_path / "backup.db") == ["kept"]


def test_a_busy_queue_does_not_block_a_backup(harness: StoreHarness, tmp_path: Path) -> None:
    """Readers do not wait for writers."""
    harness.add("one")
    harness.store.db.set_lock_timeout(0.1)
    with closing(sqlite3.connect(harness.store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy):
            harness.add("two")
        assert write_backup(harness.store.db, tmp_path / "b.db")[1] == 1
        other.execute("ROLLBACK")
