"""Batches: what is done with all jobs of an enqueue or a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import JobFailed
from queuectl_nb.model.outcome import Exited

if TYPE_CHECKING:
    from queuectl_nb.client import Queue
    from queuectl_nb.client.batch import Batch
    from tests.commands.manual_worker import ManualWorker


@pytest.fixture
def batch(queue: Queue, manual_worker: ManualWorker) -> Batch:
    """Return a batch of a completed, a dead and a waiting job, beside a job of its own."""
    queue.enqueue("true", id="other", priority=-1)
    batch = queue.enqueue_many([{"command": "true", "id": name} for name in "abc"], tags=["sweep"], max_retries=1)
    manual_worker.run("a")
    manual_worker.run("b", Exited(3))
    return batch


def test_found_again(queue: Queue, batch: Batch) -> None:
    """A selection gives the same jobs in the same order, also after a restart."""
    assert queue.batch(tag="sweep") == batch
    assert queue.batch(tag="sweep").ids == ["a", "b", "c"]
    assert queue.batch(state=["dead", "completed"]).ids == ["a", "b"]
    assert len(queue.batch(tag="none")) == 0


def test_frames(batch: Batch) -> None:
    """``jobs`` has the jobs in their order, ``errors`` why some of them failed."""
    assert list(batch.jobs()["state"]) == ["completed", "dead", "pending"]
    assert batch.errors()["example"].tolist() == ["b"]


def test_cancel_and_retry(queue: Queue, batch: Batch, manual_worker: ManualWorker) -> None:
    """``cancel`` takes what has not finished, ``retry`` what did not complete; other jobs are left alone."""
    assert batch.cancel(dry_run=True) == ["c"]
    assert queue.job("c").state == "pending"
    assert batch.cancel() == ["c"]
    assert batch.wait(timeout=1) == {"completed": 1, "dead": 1, "cancelled": 1}
    with pytest.raises(JobFailed, match="2 job"):
        batch.wait(check=True)
    assert set(batch.retry(dry_run=True)) == {"b", "c"}
    assert queue.job("b").state == "dead"
    assert set(batch.retry()) == {"b", "c"}
    manual_worker.run("b")
    manual_worker.run("c")
    assert batch.wait(check=True) == {"completed": 3}
    assert (batch.retry(), batch.cancel()) == ([], [])
    assert queue.job("other").state == "pending"


def test_next_wait_for_all(queue: Queue, batch: Batch, manual_worker: ManualWorker) -> None:
    """A wait for all jobs counts what was retried here, and not what was cancelled here."""
    queue.delete("other")
    batch.cancel()
    assert queue.wait() == {"completed": 1, "dead": 1}
    assert set(batch.retry()) == {"b", "c"}
    manual_worker.run("b")
    manual_worker.run("c")
    assert queue.wait() == {"completed": 2}


def test_deleted_jobs(queue: Queue, batch: Batch) -> None:
    """Deleted jobs have no row."""
    queue.delete(batch.ids[0])
    assert list(batch.jobs().index) == batch.ids[1:]


def test_empty(queue: Queue) -> None:
    """Nothing is done with no jobs."""
    batch = queue.batch(tag="none")
    assert (batch.wait(), batch.cancel(), batch.retry(), batch.results()) == ({}, [], [], [])
    assert batch.jobs().empty
    assert batch.errors().empty
