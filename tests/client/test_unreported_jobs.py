"""A wait for all counts every job of this process, however fast it was, and each once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from queuectl_nb import JobFailed, Queue, WaitTimeout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.manual_worker import ManualWorker


def test_jobs_finished_before_the_wait(queue: Queue, manual_worker: ManualWorker) -> None:
    """Jobs that were enqueued here and finished before the wait count once."""
    manual_worker.add("a", "b", max_retries=1)
    manual_worker.run("a")
    manual_worker.exhaust("b")
    with pytest.raises(JobFailed, match="1 job\\(s\\) did not complete: b \\(exit code 1: it broke\\)"):
        Queue(queue.path).wait(timeout=0, check=True)
    assert queue.wait(timeout=0, check=True) == {}


def test_earlier_jobs_do_not_count(queue: Queue, manual_worker: ManualWorker, tmp_path: Path) -> None:
    """Only jobs that finished since the first enqueue after the last wait count, and none of other files."""
    manual_worker.add("a")
    manual_worker.run("a")
    assert queue.wait(timeout=0) == {"completed": 1}
    manual_worker.add("b")
    manual_worker.run("b")
    assert Queue(tmp_path / "other.db").wait(timeout=0) == {}
    assert queue.wait(timeout=0) == {"completed": 1}


def test_jobs_waited_for_by_name(queue: Queue, manual_worker: ManualWorker) -> None:
    """Jobs waited for by name, awaited or cancelled here do not count again, unless they are run again."""
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


def test_wait_after_a_timeout(queue: Queue, manual_worker: ManualWorker) -> None:
    """Jobs finished before a timeout count in the next wait."""
    manual_worker.add("a", "b")
    manual_worker.run("a")
    with pytest.raises(WaitTimeout):
        queue.wait(timeout=0)
    manual_worker.run("b")
    assert queue.wait(timeout=0) == {"completed": 2}
