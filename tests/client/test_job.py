"""The ``Job`` class: current fields, waiting, awaiting, checking, pickling."""

from __future__ import annotations

import asyncio
import copy
import inspect
import multiprocessing
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from queuectl_nb import BadEnvironment, BadInput, Job, JobFailed, NotFound, Queue
from queuectl_nb.model.job import JOB_FIELDS
from tests.engine.harness import in_threads
from tests.journeys.terminals import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client.pool import WorkerPool
    from tests.commands.manual_worker import ManualWorker


@pytest.fixture
def pool(queue: Queue) -> Iterator[WorkerPool]:
    """Return a pool of two workers."""
    found = queue.start_workers(2)
    yield found
    found.stop(now=True)


def test_fields_are_current(queue: Queue, manual_worker: ManualWorker) -> None:
    """After a retry by anybody, every handle shows the job as waiting again."""
    manual_worker.add("a", max_retries=1)
    mine, other = queue.job("a"), Queue(queue.path).job("a")
    assert (mine.state, other.state) == ("pending", "pending")
    manual_worker.exhaust("a")
    assert (mine.state, mine.exit_code, mine.attempts, other.state) == ("dead", 1, 1, "dead")
    queue.retry_dead("a")
    assert (mine.state, mine.exit_code, mine.attempts, other.state) == ("pending", None, 0, "pending")
    manual_worker.run("a", result='{"x": 1}')
    assert (mine.result(), other.result(), mine.to_dict()["state"]) == ({"x": 1}, {"x": 1}, "completed")
    queue.retry("a")
    assert (mine.to_dict()["result"], mine.to_dict()["state"]) == (None, "pending")


def test_fields_are_attributes(queue: Queue) -> None:
    """All JSON fields can be read and completed; the error for another name is one line."""
    job = queue.enqueue("true")
    assert set(JOB_FIELDS) <= set(dir(job))
    assert [getattr(job, name) for name in JOB_FIELDS]
    with pytest.raises(AttributeError, match="'nope'"):
        _ = job.nope


def test_deleted_job(queue: Queue, manual_worker: ManualWorker) -> None:
    """A job seen as finished keeps its fields; another one raises, and its text says that it was removed."""
    manual_worker.add("rested", "waiting")
    manual_worker.run("rested")
    rested, waiting = queue.job("rested"), queue.job("waiting")
    assert (rested.state, waiting.state) == ("completed", "pending")
    queue.delete("rested", "waiting")
    assert (rested.state, rested.exit_code) == ("completed", 0)
    with pytest.raises(NotFound):
        _ = waiting.state
    assert repr(rested) == "<Job rested: removed>"
    queue.path.unlink()
    assert rested.state == "completed"
    with pytest.raises(BadEnvironment):
        _ = waiting.state


def test_showing_and_inspecting_never_raises(queue: Queue) -> None:
    """Frames, debuggers and loggers call repr() and hasattr(): a deleted job, or file, must not break them."""
    job, removed = queue.enqueue("true"), queue.enqueue("true")
    removed.delete()
    assert repr(removed) == f"<Job {removed.id}: removed>"
    inspect.getmembers(removed)
    queue.path.unlink()
    gone = "the queue .* was deleted or replaced while in use"
    shown = [*ThreadPoolExecutor(1).map(repr, [queue, job]), repr(queue), repr(job), f"{[queue, job]}"]
    for text in shown:
        assert re.search(gone, text)
        assert "\n" not in text
    assert job._repr_html_() is None
    for each in (job, removed):
        inspect.getmembers(each)
        names = ("shape", "state", "exit_code", "history", "record", "count", "index")
        assert not any(hasattr(each, name) for name in names)
    with pytest.raises(BadEnvironment, match=gone):
        _ = job.exit_code


def test_wait(queue: Queue, pool: WorkerPool) -> None:
    """The finished job is returned; the timeout is Python's TimeoutError, and the job continues."""
    job = queue.enqueue("sleep 0.3")
    with pytest.raises(TimeoutError, match="they continue"):
        job.wait(timeout=0.05)
    assert job.wait(timeout=60) is job
    assert job.state == "completed"
    assert queue.wait(job, timeout=60) == {"completed": 1}


def test_check(queue: Queue, pool: WorkerPool) -> None:
    """A failed job raises JobFailed with the reason and the last ten lines of stderr, or else of stdout."""
    loud = queue.enqueue("seq 100; seq 101 130 >&2; exit 3", max_retries=1)
    quiet = queue.enqueue("echo only here; exit 4", max_retries=1)
    with pytest.raises(JobFailed) as caught:
        loud.wait(30, check=True)
    assert str(caught.value).splitlines() == [f"job {loud.id} is dead: exit code 3", *map(str, range(121, 131))]
    with pytest.raises(JobFailed, match="exit code 4\nonly here"):
        quiet.wait(30, check=True)
    assert loud.wait(60).state == "dead"
    assert queue.enqueue("true").wait(30, check=True).state == "completed"


def test_invalid_log_arguments(queue: Queue, manual_worker: ManualWorker) -> None:
    """An unknown stream or an invalid number is refused with what is valid."""
    manual_worker.add("a")
    manual_worker.run("a")
    job = queue.job("a")
    with pytest.raises(BadInput, match="stream 'out' is unknown; did you mean stdout"):
        job.log("out")
    for wrong in ({"attempt": 0}, {"attempt": "x"}, {"attempt": 1.0}, {"tail": -1}, {"tail": "x"}):
        with pytest.raises(BadInput, match="must be"):
            job.log(**wrong)
    with pytest.raises(NotFound, match="no attempt 2; attempts: 1"):
        job.log(attempt=2)
    assert job.log("stderr", attempt=1, tail=0) == ""


def test_await(queue: Queue, pool: WorkerPool) -> None:
    """Many jobs are awaited in a loop that keeps running; cancelling an await does not affect the job."""

    async def main() -> tuple[list[Job], int]:
        beats = 0

        async def heart() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        heartbeat = asyncio.ensure_future(heart())
        slow = queue.enqueue("sleep 0.5")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_await(slow), 0.05)
        done = await asyncio.gather(*map(_await, [slow, *(queue.enqueue("true") for _ in range(5))]))
        heartbeat.cancel()
        return list(done), beats

    done, beats = asyncio.run(main())
    assert [job.state for job in done] == ["completed"] * 6
    assert beats > 3


async def _await(job: Job) -> Job:
    return await job


def test_threads(queue: Queue, manual_worker: ManualWorker) -> None:
    """Each thread reads the current job while others commit."""
    manual_worker.add("a")
    job = queue.job("a")
    wrong: list[object] = []

    def follow() -> None:
        seen = [job.state]
        try:
            while seen[-1] != "completed":
                seen.append(job.state)
        except Exception as error:  # noqa: BLE001 - reported by the test
            wrong.append(error)
        finally:
            queue.close()

    with in_threads(*[follow] * 6):
        for number in range(20):
            queue.enqueue("true", id=f"other-{number}")
        manual_worker.run("a")
    assert wrong == []


def _in_a_child(job: Job, ids: multiprocessing.Queue[str]) -> None:
    ids.put(f"{job.state} {job._queue.enqueue('true', id='of-the-child').id}")


def test_fork(queue: Queue) -> None:
    """After a fork, job and queue work in parent and child on their own connections."""
    context = multiprocessing.get_context("fork")
    job = queue.enqueue("true")
    assert job.state == "pending"
    answers = context.Queue()
    child = context.Process(target=_in_a_child, args=(job, answers))
    child.start()
    assert answers.get(timeout=60) == "pending of-the-child"
    child.join(60)
    assert child.exitcode == 0
    assert queue.job("of-the-child").state == job.state == "pending"


def test_pickle_to_another_process(queue: Queue) -> None:
    """Unpickled in a new process, job and queue work."""
    job = queue.enqueue("true")
    code = "import pickle, sys; job = pickle.load(sys.stdin.buffer); print(job.state, job.cancel().state)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(job),
        env=environment(queue.path),
        capture_output=True,
        check=True,
    )
    assert (ran.stdout, job.state) == (b"pending cancelled\n", "cancelled")


def test_pickle_copy_equality(queue: Queue) -> None:
    """A pickle holds path and id; the copy is equal and has the same hash."""
    job = queue.enqueue("true")
    batch = queue.enqueue_many([{"command": "true"}, {"command": "false"}])
    for twin in (pickle.loads(pickle.dumps(job)), copy.copy(job), copy.deepcopy(job)):
        assert (twin, hash(twin), twin.state) == (job, hash(job), "pending")
    assert pickle.loads(pickle.dumps(batch)) == batch
    assert job != batch[0]


def test_worker_pids(queue: Queue) -> None:
    """Once the pool is returned, each worker's pid is that of a living process."""
    with queue.start_workers(3) as pool:
        pids = [worker["pid"] for worker in pool.workers]
        assert len({psutil.Process(pid).pid for pid in pids}) == 3
        assert list(queue.workers()["pid"]) == pids
