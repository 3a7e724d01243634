"""Awaited jobs share their reads of the queue, and each await ends with its own job."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb import BadEnvironment, NotFound
from queuectl_nb.client import async_wait
from tests.commands.manual_worker import ManualWorker

if TYPE_CHECKING:
    from queuectl_nb import Job, Queue


async def turns(count: int = 5) -> None:
    """Let several polls pass."""
    for _ in range(count):
        await asyncio.sleep(async_wait.POLL_INTERVAL_S)


def test_awaits_share_reads(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """For any number of awaits there is one read per commit; each returns when its own job has finished."""
    manual_worker, looks, gets = ManualWorker(queue), [], []
    batch = queue.enqueue_many([{"command": "true"}] * 200)
    ask, get = queue.store.reader.states_of, queue.store.jobs.get

    def counted(ids: list[str]) -> Any:
        looks.append(len(ids))
        return ask(ids)

    def counted_get(job_id: str) -> Any:
        gets.append(job_id)
        return get(job_id)

    monkeypatch.setattr(queue.store.reader, "states_of", counted)
    monkeypatch.setattr(queue.store.jobs, "get", counted_get)

    async def main() -> None:
        tasks = [asyncio.ensure_future(job) for job in batch]
        await turns()
        begun = len(looks)
        assert begun <= 5
        assert len(gets) <= 1
        await turns()
        assert len(looks) == begun, "nothing was committed"
        manual_worker.run(batch.ids[0])
        assert (await tasks[0]).state == "completed"
        assert len(looks) <= begun + 2
        assert not any(task.done() for task in tasks[1:])
        queue.cancel(batch[1:])
        gets.clear()
        jobs = await asyncio.gather(*tasks[1:])
        assert not gets
        assert {job.state for job in jobs} == {"cancelled"}

    asyncio.run(main())


def test_finished_and_missing_jobs(queue: Queue) -> None:
    """A finished job is returned at once; a missing one raises at once, a deleted one when it is deleted."""
    manual_worker = ManualWorker(queue)
    manual_worker.add("a", "b")
    manual_worker.run("a")
    a, b = queue.job("a"), queue.job("b")

    async def main() -> None:
        assert (await a).state == "completed"
        going = asyncio.ensure_future(b)
        await turns()
        queue.delete("b")
        with pytest.raises(NotFound, match="b was deleted"):
            await going
        with pytest.raises(NotFound, match="no job b"):
            await b

    asyncio.run(main())


def test_cancelled_await(queue: Queue) -> None:
    """A cancelled await does not affect others; without awaits polling stops, and the loop can be closed."""
    job = queue.enqueue("true", id="a")
    loop = asyncio.new_event_loop()

    async def main() -> asyncio.Task[Any]:
        patient = asyncio.ensure_future(job)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(job), 0.05)
        await turns()
        assert not patient.done()
        queue.cancel(job)
        await patient
        again = queue.enqueue("true")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(again), 0.05)
        return patient

    assert loop.run_until_complete(main()).result() == job
    assert async_wait._LoopWaiter._instances == {}
    loop.close()


def test_closed_loops_are_released(queue: Queue) -> None:
    """No loop is kept after its awaits have ended; one that was closed during an await is released by the next."""
    job = queue.enqueue("true")
    loops = []

    async def start() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.wait_for(job, 0.05)

    for _ in range(3):
        with pytest.raises(TimeoutError):
            asyncio.run(start())
    interrupted = asyncio.new_event_loop()
    task = interrupted.create_task(_state(job))
    interrupted.run_until_complete(turns())
    interrupted.close()
    loops.append(weakref.ref(interrupted))
    other = queue.enqueue("true")

    async def await_other() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other, 0.05)

    asyncio.run(await_other())
    coroutine = task.get_coro()
    assert coroutine is not None
    coroutine.close()
    del task, interrupted, coroutine
    gc.collect()
    assert [loop() for loop in loops] == [None] * 4
    assert list((queue.store.db.spool / "waiting").iterdir()) == []


def test_interrupted_read(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl+C during a read, awaits in the restarted loop end with their jobs."""
    job = queue.enqueue("true", id="a")
    loop = asyncio.new_event_loop()
    old = loop.create_task(_state(job))

    def struck() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(queue.store.db, "revision", struck)
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(old)
    queue.cancel(job)
    other = queue.enqueue("true", id="b")
    queue.cancel(other)

    async def main() -> list[str]:
        async with asyncio.timeout(60):
            return list(await asyncio.gather(old, _state(job), _state(other)))

    assert loop.run_until_complete(main()) == ["cancelled"] * 3
    loop.close()


async def _state(job: Job) -> str:
    return (await job).state


def test_several_loops(queue: Queue) -> None:
    """Loops in several threads await the same job, each with its own connection."""
    job = queue.enqueue("true", id="a")
    found: list[str] = []

    async def wait() -> None:
        begun.release()
        found.append((await job).state)

    def loop() -> None:
        asyncio.run(wait())
        queue.close()

    begun = threading.Semaphore(0)
    threads = [threading.Thread(target=loop) for _ in range(3)]
    for each in threads:
        each.start()
        begun.acquire()
    queue.cancel(job)
    for each in threads:
        each.join(60)
    assert found == ["cancelled"] * 3


def test_errors_end_all_awaits(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error during a read is raised by every await."""
    batch = queue.enqueue_many([{"command": "true"}] * 3)

    async def main() -> None:
        tasks = [asyncio.ensure_future(job) for job in batch]
        await turns()

        def gone() -> None:
            msg = "the file is gone"
            raise BadEnvironment(msg)

        monkeypatch.setattr(queue.store.db, "revision", gone)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {str(each) for each in ended} == {"the file is gone"}

    asyncio.run(main())
