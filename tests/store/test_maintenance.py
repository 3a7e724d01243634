"""Free pages are given back to the disk: in steps, or for a file that was made without them, by rewriting it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import queuectl_nb
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.store import maintenance
from queuectl_nb.store.artifacts import artifact_dir
from queuectl_nb.store.blobs import STRAY_AGE_S
from queuectl_nb.store.maintenance import read_space, shrink, vacuum
from queuectl_nb.store.store import Store
from tests.engine.harness import fill_disk
from tests.store.stored_jobs import job_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.store.conftest import StoreHarness

JOBS = 400
COMMAND = "x" * 6000
KEPT = 4
MIB = 1024 * 1024


def _fill(harness: StoreHarness) -> None:
    """Add some jobs that stay, and many that are deleted."""
    harness.add(*(f"old-{number}" for number in range(JOBS)), *(f"kept-{number}" for number in range(KEPT)))
    with harness.store.db.write() as connection:
        connection.execute("UPDATE jobs SET command = ?", (COMMAND,))
    harness.store.jobs.cancel([f"old-{number}" for number in range(JOBS)], harness.now)
    harness.prune(0)


def _make_old(store: Store) -> None:
    """Make the file one that was created without incremental vacuum."""
    store.db.close()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    assert not read_space(store.db).is_incremental


def _check(store: Store) -> None:
    """Check that nothing else was lost or damaged."""
    with store.db.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT DISTINCT command FROM jobs WHERE id LIKE 'kept%'").fetchall() == [(COMMAND,)]
    assert job_ids(store)[:KEPT] == [f"kept-{number}" for number in range(KEPT)]


@pytest.mark.parametrize("old", [False, True])
def test_vacuum(harness: StoreHarness, old: bool) -> None:
    """The file has the size of what is left, and can be shrunk in steps from then on; the log is empty."""
    if old:
        _make_old(harness.store)
    _fill(harness)
    store = harness.store
    before = read_space(store.db)
    (timeout_ms,) = store.db.connection().execute("PRAGMA busy_timeout").fetchone()
    assert before.free > 0.8 * before.size
    freed, after = vacuum(store.db), read_space(store.db)
    assert freed == before.size - after.size > 0.9 * before.free
    assert (after.free_pages, after.is_incremental) == (0, True)
    assert store.path.stat().st_size == after.size
    assert store.path.with_name(store.path.name + "-wal").stat().st_size == 0
    assert vacuum(store.db) == 0
    assert store.db.connection().execute("PRAGMA busy_timeout").fetchone() == (timeout_ms,)
    _check(store)


def test_shrink(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers keep some free pages, stop when their time is over, and leave the file alone while a job is ready."""
    monkeypatch.setattr(maintenance, "KEPT_BYTES", 40_960)
    monkeypatch.setattr(maintenance, "KEPT_SHARE", 0)
    _fill(harness)
    store = harness.store
    before = read_space(store.db)
    shrink(store.db, 60)
    assert read_space(store.db) == before, "the jobs that are left are ready"
    harness.store.jobs.cancel([f"kept-{number}" for number in range(KEPT)], harness.now)
    shrink(store.db, 1e-9)
    assert read_space(store.db).free_pages >= before.free_pages - maintenance.STEP_PAGES
    reader = Store(store.path)
    with reader.db.read() as connection:
        connection.execute("SELECT count(*) FROM jobs").fetchone()
        shrink(store.db, 60)
    reader.db.close()
    after = read_space(store.db)
    assert after.free == 40_960
    assert store.path.stat().st_size > after.size, "a reader keeps its snapshot"
    shrink(store.db, 60)
    assert store.path.stat().st_size == after.size
    _check(store)


def test_old_files_are_left_alone_by_workers(harness: StoreHarness) -> None:
    """A rewrite keeps all others from writing: only a person asks for it."""
    _make_old(harness.store)
    _fill(harness)
    harness.store.jobs.cancel([f"kept-{number}" for number in range(KEPT)], harness.now)
    before = read_space(harness.store.db)
    shrink(harness.store.db, 60)
    assert read_space(harness.store.db) == before


@pytest.mark.parametrize("old", [False, True])
def test_others_use_the_queue_meanwhile(harness: StoreHarness, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that enqueue during vacuums lose nothing, and a reader keeps its snapshot."""
    monkeypatch.setattr(maintenance, "READER_TIMEOUT_S", 0.02)
    if old:
        _make_old(harness.store)
    _fill(harness)
    store, stop, written = harness.store, threading.Event(), list[str]()

    def write() -> None:
        while not stop.is_set():
            written.extend(harness.add())
        store.db.close()

    other = Store(store.path)
    writer = threading.Thread(target=write)
    with other.db.read() as connection:
        seen = connection.execute("SELECT count(*) FROM jobs").fetchone()
        writer.start()
        try:
            vacuum(store.db)
            assert connection.execute("SELECT count(*) FROM jobs").fetchone() == seen
            assert connection.execute("SELECT max(length(command)) FROM jobs").fetchone() == (len(COMMAND),)
        finally:
            stop.set()
            writer.join()
    vacuum(store.db)
    assert store.path.stat().st_size == read_space(store.db).size
    assert job_ids(other)[KEPT:] == written
    _check(other)
    other.db.close()


VACUUMER = """
import os, sys
from pathlib import Path
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import insert_jobs
from queuectl_nb.store.maintenance import vacuum
from queuectl_nb.store.store import Store
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    ids = insert_jobs(store.db, [JobSpec("x" * 6000)] * 50, cwd="/", recorded_env={}, now=1.0)
    store.jobs.delete(ids[:-1], 2.0)
    if sys.argv[2] == "old":
        store.db.connection().executescript("PRAGMA auto_vacuum = NONE; VACUUM")
        store.jobs.delete(ids[-1:], 2.0)
    vacuum(store.db)
    if sys.argv[2] != "old":
        store.jobs.delete(ids[-1:], 2.0)
"""


@pytest.mark.parametrize("kind", ["new", "old"])
def test_kill(harness: StoreHarness, kind: str) -> None:
    """A process that is killed while it shrinks or rewrites the file damages nothing and holds no lock."""
    _fill(harness)
    store = harness.store
    for number in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", VACUUMER, str(store.path), kind],
            env={**os.environ, "PYTHONPATH": str(Path(queuectl_nb.__file__).parents[1])},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            threading.Event().wait(0.01 * number)
            process.kill()
        harness.add(f"after-{number}")
        vacuum(store.db)
        _check(store)


def test_interrupt(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl+C ends a rewrite, which changes nothing."""
    _make_old(harness.store)
    _fill(harness)
    before = read_space(harness.store.db)
    with monkeypatch.context() as patch:
        patch.setattr(maintenance, "INTERRUPT_CHECK_STEPS", 10)
        patch.setattr(maintenance, "_check_interrupt", lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            vacuum(harness.store.db)
    assert read_space(harness.store.db) == before
    _check(harness.store)
    assert vacuum(harness.store.db) > 0


def test_busy(harness: StoreHarness) -> None:
    """While somebody else holds the write lock, the queue is busy."""
    other = Store(harness.store.path)
    harness.store.db.set_lock_timeout(0.02)
    with other.db.write(), pytest.raises(Busy):
        vacuum(harness.store.db)
    other.db.close()


@pytest.fixture
def small(harness: StoreHarness, mounted: Callable[[str], Path]) -> Iterator[Any]:
    """Return a harness with a store on a disk of its own."""
    found = type(harness)(Store(mounted("size=16m") / "queue.db"))
    yield found
    found.store.db.close()


def test_full_disk(small: Any) -> None:
    """On a full disk the file shrinks in steps."""
    store = small.store
    _fill(small)
    fill_disk(store.path.with_name("ballast"))
    before = read_space(store.db)
    vacuum(store.db)
    assert read_space(store.db).free_pages == 0
    assert maintenance.free_disk_space(store.db) >= before.free
    _check(store)


def test_prune_on_an_almost_full_disk(small: Any) -> None:
    """What is deleted must fit into the log first: where it does not, fewer jobs are deleted at a time."""
    store, ballast = small.store, small.store.path.with_name("ballast")
    ids = small.add(*(f"old-{number}" for number in range(100)), command="x" * 50_000)
    small.store.jobs.cancel(ids, small.now)
    store.db.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    reserve = store.path.with_name("reserve")
    reserve.write_bytes(b"x" * MIB)
    fill_disk(ballast)
    reserve.unlink()
    assert small.prune(0)[0] == 100
    assert vacuum(store.db) > 4 * MIB
    assert job_ids(store) == []


def test_rewrite_on_a_full_disk(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewrite for which there is no room is refused; one that runs out of it leaves the disk as it was."""
    store, ballast = small.store, small.store.path.with_name("ballast")
    _make_old(store)
    _fill(small)
    store.db.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fill_disk(ballast)
    before, disk = read_space(store.db), maintenance.free_disk_space(store.db)
    with pytest.raises(BadEnvironment, match="needs 1 MiB of free disk space to be rewritten"):
        vacuum(store.db)
    monkeypatch.setattr(maintenance, "free_disk_space", lambda _db: 10**9)
    with pytest.raises(BadEnvironment, match="is full"):
        vacuum(store.db)
    monkeypatch.undo()
    assert read_space(store.db) == before
    assert maintenance.free_disk_space(store.db) >= disk
    ballast.unlink()
    assert vacuum(store.db) > 0
    _check(store)


def test_old_strays_are_removed(harness: StoreHarness) -> None:
    """Files of blobs and folders of artifacts that belong to no job stay for an hour."""
    output = Path(harness.store.db.output_dir)
    strays = [output / "blobs" / ("a" * 64), Path(artifact_dir(output, "b" * 32))]
    for stray in strays:
        stray.parent.mkdir(exist_ok=True)
    strays[0].write_bytes(b"x")
    strays[1].mkdir()
    maintenance.remove_strays(harness.store.db, time.time())
    assert all(stray.exists() for stray in strays)
    maintenance.remove_strays(harness.store.db, time.time() + 2 * STRAY_AGE_S)
    assert not any(stray.exists() for stray in strays)
