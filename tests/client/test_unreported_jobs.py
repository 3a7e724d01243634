"""A wait for all tells of every job that this process set going, however fast it was, and of each once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from queuectl_nb import JobFailed, Queue, WaitTimeout
from tests.commands.manual_worker import ManualWorker

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def manual_worker(queue: Queue) -> ManualWorker:
    """Return a manual worker on the queue."""
    return ManualWorker(queue)


def test_jobs_that_were_faster_than_the_wait_are_told_once(queue: Queue, manual_worker: ManualWorker) -> None:
    """What was enqueued here and rested before the wait counts in it, and not in the next one."""
    manual_worker.add("a", "b", max_retries=1)
    manual_worker.run("a")
    manual_worker.exhaust("b")
    with pytest.raises(JobFailed, match="1 job\\(s\\) did not complete: b"):
        Queue(queue.path).wait(timeout=0, check=True)
    assert queue.wait(timeout=0, check=True) == {}


def test_what_was_there_before_is_not_told(queue: Queue, manual_worker: ManualWorker, tmp_path: Path) -> None:
    """Only what rested since the first enqueue after the last wait counts; another file's jobs never do."""
    manual_worker.add("a")
    manual_worker.run("a")
    assert queue.wait(timeout=0) == {"completed": 1}
    manual_worker.add("b")
    manual_worker.run("b")
    assert Queue(tmp_path / "other.db").wait(timeout=0) == {}
    assert queue.wait(timeout=0) == {"completed": 1}


def test_what_was_told_by_name_is_not_told_again(queue: Queue, manual_worker: ManualWorker) -> None:
    """Waited for by name, awaited or cancelled here: told. Run again, its new end is to be told again."""
    manual_worker.add("a", "b", "c", max_retries=1)
    for each in ("a", "b"):
        manual_worker.exhaust(each)
    assert queue.job("a").wait(0).state == "dead"

    async def main() -> None:
        assert (await queue.job("b")).state == "dead"

    asyncio.run(main())
    queue.cancel("c")
    manual_worker.add("d", "e")
    with pytest.raises(WaitTimeout):
        queue.wait("d", timeout=0)
    manual_worker.run("d")
    manual_worker.run("e")
    assert queue.wait(timeout=0, check=True) == {"completed": 2}
    manual_worker.add("f")
    queue.retry("a")
    queue.job("a").cancel()
    assert queue.retry_dead("b") == ["b"]
    manual_worker.run("b")
    manual_worker.run("f")
    assert queue.wait(timeout=0, check=True) == {"completed": 2}


def test_a_wait_that_was_given_up_has_told_nothing(queue: Queue, manual_worker: ManualWorker) -> None:
    """Out of time: what rested until then is told by the next one."""
    manual_worker.add("a", "b")
    manual_worker.run("a")
    with pytest.raises(WaitTimeout):
        queue.wait(timeout=0)
    manual_worker.run("b")
    assert queue.wait(timeout=0) == {"completed": 2}
