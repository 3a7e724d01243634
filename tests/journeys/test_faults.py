"""Running pools when the database file is locked, removed, replaced or on a full disk."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.state import State
from tests.engine.harness import WorkerHarness, alive, fill_disk, job_processes, read_pid, until, within
from tests.engine.test_supervisor import start_in_another_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def harness(harness: WorkerHarness) -> WorkerHarness:
    """Return the harness with a short kill grace."""
    harness.queue.set("kill_grace", "0.3")
    return harness


def test_jobs_continue_while_another_program_locks_the_file(harness: WorkerHarness, tmp_path: Path) -> None:
    """A foreign lock held for longer than the lease loses no job; results are recorded later."""
    first, go = tmp_path / "pid", tmp_path / "go"
    harness.queue.set("lease", 2)
    job = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done; echo done")
    harness.start()
    harness.start()
    read_pid(first)
    until(lambda: job.history[0].pid)
    holder = sqlite3.connect(harness.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        go.touch()
        until(lambda: [each for each in harness.events("warning") if "busy" in each["text"]])
        assert job.state is State.PROCESSING
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    job.wait(timeout=60)
    assert (harness.outcomes(job), job.log()) == (["succeeded"], "done\n")


@pytest.fixture
def lock_file(harness: WorkerHarness) -> Iterator[Callable[[bool], None]]:
    """Return a function that takes or releases a foreign lock on the file."""
    holder = sqlite3.connect(harness.path, isolation_level=None)

    def switch(on: bool) -> None:
        holder.execute("BEGIN IMMEDIATE" if on else "ROLLBACK")

    yield switch
    holder.close()


def test_worker_that_dies_while_the_file_is_locked(
    harness: WorkerHarness, tmp_path: Path, lock_file: Callable[[bool], None]
) -> None:
    """The job's processes are killed at once; the lost attempt is recorded and the worker restarted later."""
    pids = tmp_path / "pids"
    harness.queue.set("backoff_max", 0)
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || sleep 60")
    pool = harness.start()
    shell = read_pid(pids)
    until(lambda: job.history[0].pid)
    worker = harness.worker_pid()
    lock_file(True)
    os.kill(worker, signal.SIGKILL)
    until(lambda: [each for each in harness.events("warning") if "busy" in each["text"]])
    assert pool.alive
    assert not alive(shell)
    assert job.state is State.PROCESSING
    lock_file(False)
    job.wait(timeout=60)
    assert harness.outcomes(job) == ["lost", "succeeded"]


def test_pool_ends_with_its_starter_while_the_file_is_locked(
    harness: WorkerHarness, tmp_path: Path, lock_file: Callable[[bool], None]
) -> None:
    """Nothing is left after 5 s; the next supervisor releases the job from the journal at no cost."""
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; sleep 600", timeout=0)
    starter, pool = start_in_another_process(harness, "with")
    shell = read_pid(first)
    until(lambda: job.history[0].pid)
    lock_file(True)
    starter.kill()
    starter.wait(60)
    with within(5, pool):
        until(lambda: not alive(pool))
    assert not alive(shell)
    lock_file(False)
    harness.queue.pause()
    harness.start()
    until(lambda: job.state is State.PENDING)
    assert (job.attempts, harness.outcomes(job)) == (0, ["returned"])


def test_workers_start_on_a_symlink_to_the_queue(queue_path: Path, tmp_path: Path) -> None:
    """A symlink to the file is the same queue, with the same worker files."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(queue_path)
    queue = Queue(link)
    job = queue.enqueue("echo linked")
    with queue.start_workers(1, on_event=lambda _: None):
        job.wait(timeout=60)
    assert (job.state, job.log()) == (State.COMPLETED, "linked\n")


@pytest.mark.parametrize("how", ["log deleted", "deleted", "replaced"])
def test_pool_ends_when_its_file_is_gone(harness: WorkerHarness, tmp_path: Path, template_path: Path, how: str) -> None:
    """A removed or replaced file ends the pool with an error, reported once by each worker; no process is left.

    Without its log, which the last process to close it moves into the file, the queue has lost nothing.
    """
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; sleep 60")
    pool = harness.start(2)
    read_pid(first)
    for suffix in ("-wal", "-shm") if how == "log deleted" else ("", "-wal", "-shm"):
        harness.path.with_name(harness.path.name + suffix).unlink(missing_ok=True)
    if how == "replaced":
        shutil.copyfile(template_path, harness.path)
    assert pool.wait(60) == 3
    reporters = [each["worker"] for each in harness.events("warning") if "deleted or replaced" in each["text"]]
    assert reporters
    assert len(reporters) == len(set(reporters))
    assert job_processes(harness.path) == []
    if how == "replaced":
        assert sum(Queue(harness.path).store.reader.counts().values()) == 0
    if how == "log deleted":
        harness.queue.close()
        assert [each.id for each in Queue(harness.path).batch()] == [job.id]


def test_full_disk_loses_no_result(tmp_path: Path, template_path: Path, small_disk: Path) -> None:
    """On a full disk an enqueue fails with an error, and results are recorded once there is room."""
    shutil.copyfile(template_path, small_disk / "queue.db")
    (small_disk / "queue.db").chmod(0o600)
    harness = WorkerHarness(Queue(small_disk / "queue.db"))
    first, go = tmp_path / "pid", tmp_path / "go"
    try:
        job = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done")
        harness.start()
        read_pid(first)
        until(lambda: job.history[0].pid)
        fill_disk(small_disk / "ballast")
        go.touch()
        until(lambda: [each for each in harness.events("warning") if "full" in each["text"]])
        with pytest.raises(BadEnvironment, match="full"):
            enqueue_much(harness)
        count = sum(harness.queue.store.reader.counts().values())
        (small_disk / "ballast").unlink()
        job.wait(timeout=60)
        assert harness.outcomes(job) == ["succeeded"]
        assert sum(harness.queue.store.reader.counts().values()) == count
    finally:
        harness.close()
        harness.queue.close()


def enqueue_much(harness: WorkerHarness) -> None:
    """Enqueue more than fits into the free pages of the file."""
    for _ in range(200):
        harness.add("echo " + "x" * 50_000)
