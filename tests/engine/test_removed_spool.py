"""Workers whose files are removed return their jobs and exit; nobody takes them for dead meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queuectl_nb import Queue
from queuectl_nb.engine import heartbeat
from queuectl_nb.model.state import State
from queuectl_nb.store.paths import spool_dir
from queuectl_nb.store.workers import WorkerRow
from tests.engine.harness import alive, until

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness


def remove(harness: WorkerHarness, name: str) -> None:
    """Remove a file or directory of the spool; a directory at once, since workers make missing ones again."""
    path = (spool_dir(harness.path) / name).resolve()
    if path.is_dir():
        shutil.rmtree(path.rename(harness.path.with_name("removed")))
    else:
        path.unlink()


@pytest.mark.parametrize("name", [".", "worker", "worker/worker-1.lock"])
def test_removed_files_cost_no_attempt(harness: WorkerHarness, tmp_path: Path, name: str) -> None:
    """The running job is returned at no cost, and the pool exits with code 3 and one line."""
    started, go = tmp_path / "started", tmp_path / "go"
    job = harness.add(f"touch {started}; until [ -e {go} ]; do sleep 0.05; done", max_retries=1)
    pool = harness.start()
    until(started.exists)
    remove(harness, name)
    second = harness.start()  # looks for dead workers at once
    assert pool.wait(60) == 3
    assert any("removed; start the workers again" in each["text"] for each in harness.events("warning"))
    go.touch()
    assert job.wait(timeout=60).state is State.COMPLETED
    assert harness.outcomes(job) == ["returned", "succeeded"]
    assert second.alive
    assert harness.events("rescued") == []


@pytest.mark.parametrize("keep", [False, True])
def test_a_replaced_lock_file_costs_no_attempt(harness: WorkerHarness, tmp_path: Path, *, keep: bool) -> None:
    """The same holds if a copy takes the place of the lock file: it is not locked, but the worker is not dead."""
    started, go = tmp_path / "started", tmp_path / "go"
    job = harness.add(f"touch {started}; until [ -e {go} ]; do sleep 0.05; done", max_retries=1)
    harness.queue.set("lease", 60)  # the heartbeat in the copy does not change
    pool = harness.start()
    until(started.exists)
    worker = harness.freeze()  # until others have looked
    lock = heartbeat.lock_path(harness.queue.store.worker_dir, "worker-1")
    copy = Path(shutil.copy(lock, tmp_path / "copy"))
    if keep:
        lock.rename(tmp_path / lock.name)
    copy.rename(lock)
    (row,) = harness.queue.store.workers.list_all()
    assert not heartbeat.is_dead(lock.parent, row)
    second = harness.start()
    os.kill(worker, signal.SIGCONT)
    assert pool.wait(60) == 3
    go.touch()
    assert job.wait(timeout=60).state is State.COMPLETED
    assert harness.outcomes(job) == ["returned", "succeeded"]
    assert second.alive
    assert harness.events("rescued") == []


def test_the_lock_of_another_queue_does_not_count(queue: Queue, tmp_path: Path) -> None:
    """After a restart of a container the pid of a dead worker may be that of a worker of another queue."""
    other = Queue(tmp_path / "other.db")
    held = heartbeat.take_lock(other.store.worker_dir, "worker-1")
    assert held is not None
    row = WorkerRow("worker-1", os.getpid(), heartbeat.host_name(), os.getpid(), (), 0.0, 0, None)
    assert heartbeat.is_dead(queue.store.worker_dir, row)
    heartbeat.lock_path(queue.store.worker_dir, "worker-1").touch()
    assert heartbeat.is_dead(queue.store.worker_dir, row)
    heartbeat.lock_path(other.store.worker_dir, "worker-1").unlink()
    assert not heartbeat.is_dead(queue.store.worker_dir, row)
    os.close(held)
    other.close()


def test_removed_output_directory_is_made_again(harness: WorkerHarness) -> None:
    """Without the directory for output a worker continues; jobs wait until it is made again."""
    harness.start()
    harness.add("true").wait(timeout=60)
    remove(harness, "output")
    assert harness.add("echo hello").wait(timeout=60).log() == "hello\n"
    assert harness.events("worker_died") == []


def test_worker_killed_after_its_files_were_removed(harness: WorkerHarness, tmp_path: Path) -> None:
    """Its supervisor kills its job and exits, and the next pool runs the job."""
    started = tmp_path / "started"
    job = harness.add(f"[ $QUEUECTL_ATTEMPT = 2 ] || {{ echo $$ > {started}; sleep 60; }}", max_retries=2)
    harness.queue.set("backoff_max", 0)
    pool = harness.start()
    shell = until(lambda: next((attempt.pid for attempt in job.history), None))
    worker = harness.freeze()
    remove(harness, ".")
    os.kill(worker, signal.SIGKILL)
    assert pool.wait(60) == 3
    assert not alive(shell)
    harness.start()
    assert job.wait(timeout=60).state is State.COMPLETED
    assert harness.outcomes(job) == ["lost", "succeeded"]
