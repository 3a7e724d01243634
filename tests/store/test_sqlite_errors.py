"""Files that are locked, vanish, fill up or cannot be written: the named error, and nothing lost."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import BadEnvironment, Busy, QueuectlError
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import insert_jobs
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _add(store: Store, job_id: str, command: str = "true") -> None:
    insert_jobs(store.db, [JobSpec(command, id=job_id)], cwd="/", recorded_env={}, now=time.time())


def _ids(store: Store) -> list[str]:
    with store.db.read() as connection:
        return [job_id for (job_id,) in connection.execute("SELECT id FROM jobs ORDER BY seq")]


def test_another_programs_lock_makes_busy_after_the_patience(store: Store) -> None:
    """A SQLite tool that holds the write lock: exit code 4 after the patience, nothing changed, reading goes on."""
    _add(store, "a")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.db.set_lock_timeout(0.3)
    began = time.monotonic()
    with pytest.raises(Busy, match=r"another program has held .*queue\.db locked for 0\.3 seconds") as caught:
        _add(store, "b")
    assert 0.25 <= time.monotonic() - began < 3
    assert caught.value.exit_code == 4
    assert _ids(store) == ["a"]
    other.execute("ROLLBACK")
    _add(store, "b")
    assert _ids(store) == ["a", "b"]


def test_the_timeout_is_for_gate_and_lock_together(store: Store) -> None:
    """Who waited at the gate for most of its patience does not begin anew at SQLite's lock."""
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
    began = time.monotonic()
    with pytest.raises(Busy):
        _add(store, "a")
    assert 1 <= time.monotonic() - began < 2.2
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
def test_a_file_that_was_replaced_is_told(store: Store, harm: Callable[[Path], None], use: str) -> None:
    """Deleted or replaced under an open store: exit code 3 at the next use, instead of writing where nobody reads."""
    _add(store, "a")
    harm(store.path)
    before = store.path.read_bytes() if store.path.exists() else None
    with pytest.raises(BadEnvironment, match="deleted or replaced while in use") as caught:
        {"write": lambda: _add(store, "b"), "read": store.reader.counts, "version": store.db.data_version}[use]()
    assert caught.value.exit_code == 3
    assert store.db.is_replaced()
    assert (store.path.read_bytes() if store.path.exists() else None) == before


def test_the_spool_gone_is_told(store: Store) -> None:
    """A spool folder that was removed under an open store: exit code 3, the file named."""
    shutil.rmtree(store.db.spool)
    with pytest.raises(BadEnvironment, match=r"cannot open the write lock .*write\.lock"):
        _add(store, "a")


def test_a_full_disk_loses_nothing(mounted: Callable[[str], Path], template_path: Path) -> None:
    """Enqueue until the disk is full: exit code 3, what was acknowledged stays, and with room again all goes on."""
    folder = mounted("size=1m")
    path = folder / "q.db"
    shutil.copyfile(template_path, path)
    store = Store(path)
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * 200_000)
    acknowledged = []
    with pytest.raises(QueuectlError) as caught:  # noqa: PT012 - the one that is too many
        for number in range(1000):
            _add(store, f"job-{number}", "x" * 5000)
            acknowledged.append(f"job-{number}")
    assert caught.value.exit_code == 3
    assert "disk" in str(caught.value)
    assert acknowledged
    assert _ids(store) == acknowledged
    with pytest.raises(QueuectlError):
        _add(store, "too-much", "x" * 90_000)
    ballast.unlink()
    _add(store, "with-room", "x" * 5000)
    store.db.close()
    assert _ids(Store(path)) == [*acknowledged, "with-room"]
    assert store.db.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_makes_no_half_queue(mounted: Callable[[str], Path]) -> None:
    """A queue that cannot be made for want of room: exit code 3, and with room it is made."""
    folder = mounted("size=600k")
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"x" * 1024)
            file.flush()
    with pytest.raises(BadEnvironment) as caught:
        Store(folder / "q.db")
    assert str(caught.value).isprintable()
    ballast.unlink()
    assert Store(folder / "q.db").reader.counts()["pending"] == 0


def test_a_read_only_mount_is_named(mounted: Callable[..., Path], queue_path: Path, tmp_path: Path) -> None:
    """On a read-only mount a queue cannot be used or made: exit code 3, the file named, nothing lost."""
    store = Store(queue_path)
    _add(store, "a")
    store.db.close()
    folder = mounted("ro", tmp_path)
    for name in ("queue.db", "new.db"):
        with pytest.raises(BadEnvironment, match=name.replace(".", r"\.")) as caught:
            _add(Store(folder / name), "b")
        assert caught.value.exit_code == 3
        assert "read-only file system" in str(caught.value).lower()
    assert _ids(Store(queue_path)) == ["a"]


def test_a_mount_that_turns_read_only_is_named(mounted: Callable[..., Path], template_path: Path) -> None:
    """A mount that turns read-only under an open store (as ext4 does on errors): exit code 3 at the next write."""
    folder = mounted("size=1m")
    path = folder / "q.db"
    shutil.copyfile(template_path, path)
    store = Store(path)
    _add(store, "a")
    store.db.close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with pytest.raises(BadEnvironment) as caught:
        _add(store, "b")
    assert caught.value.exit_code == 3
    assert "read-only file system" in str(caught.value)
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    _add(store, "b")
    assert _ids(store) == ["a", "b"]


def test_a_damaged_page_is_named(queue_path: Path) -> None:
    """A page overwritten with noise: exit code 3 at the first use that meets it, the damage named."""
    store = Store(queue_path)
    _add(store, "a")
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


def test_a_bug_is_not_called_a_bad_file(store: Store) -> None:
    """A wrong statement of ours stays what it is, so that it is seen as a bug."""
    with pytest.raises(sqlite3.ProgrammingError), store.db.read() as connection:
        connection.execute("SELECT ?")
    with pytest.raises(sqlite3.IntegrityError), store.db.write() as connection:
        connection.execute("INSERT INTO clock (only_row) VALUES (2)")
    _add(store, "a")
