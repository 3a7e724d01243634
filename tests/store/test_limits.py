"""Limits: no claim exceeds them, and what they hold back is claimed as soon as a job ends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.outcome import Exited, Lost
from queuectl_nb.store.limits import Limit, read_limits, set_limit
from tests.engine.harness import in_threads

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


@pytest.fixture
def gpu(harness: StoreHarness) -> Any:
    """Return a harness with a limit of 2 for the queue ``gpu``, in which five jobs wait."""
    set_limit(harness.store.db, "gpu", 2)
    harness.add(*"abcde", queue="gpu")
    return harness


def _ids(leases: Any) -> list[str]:
    return [lease.job_id for lease in leases]


def test_claims_up_to_the_limit(gpu: Any) -> None:
    """Two workers hold a job each; a third finds nothing, and sees that without a write."""
    (first,) = gpu.claim(9)
    assert _ids(gpu.claim(9, "worker-2")) == ["b"]
    assert gpu.claim(9, "worker-3") == []
    assert not gpu.claims("worker-3").find_work(gpu.now)[0]
    assert gpu.claims("worker-3").count_ready(9, gpu.now) == 0
    assert read_limits(gpu.store.db) == [Limit("gpu", 2, 2)]
    gpu.settle(first)
    assert gpu.claims("worker-3").find_work(gpu.now)[0]
    assert _ids(gpu.claim(9, "worker-3")) == ["c"]


@pytest.mark.parametrize("outcome", [Exited(0), Exited(1), Lost("worker-1", "was killed")])
def test_the_end_of_a_job_frees_its_place(gpu: Any, outcome: Any) -> None:
    """However it ends; a worker that claims nothing itself reports that others can."""
    (first,), _ = gpu.claim(9), gpu.claim(9, "worker-2")
    ended = gpu.settle_and_claim(ended=[gpu.ended(first, outcome)])
    assert ended.unblocked > 0
    assert len(gpu.claim(9, "worker-3")) == 1


def test_an_undone_claim_frees_its_place(gpu: Any) -> None:
    """A job that is returned unstarted no longer counts."""
    (first,), _ = gpu.claim(9), gpu.claim(9, "worker-2")
    assert gpu.settle_and_claim(released=[first]).unblocked > 0
    assert _ids(gpu.claim(9, "worker-3")) == ["a"]


def test_jobs_of_a_limited_queue_are_not_claimed_ahead(gpu: Any) -> None:
    """A worker that runs one job at a time claims one only to start it next; others are claimed ahead as before."""
    gpu.add("x", "y", priority=-1)
    assert _ids(gpu.claim(9)) == ["a", "x", "y"]
    gpu.add("first", priority=1)
    assert _ids(gpu.claim(9)) == ["first"]


def test_a_dispatcher_claims_all_free_places(gpu: Any) -> None:
    """It runs all its jobs at a time."""
    gpu.add("x")
    assert gpu.claims(parallel=True).count_ready(9, gpu.now) == 3
    assert _ids(gpu.settle_and_claim(limit=9, parallel=True).leases) == ["a", "b", "x"]


def test_other_queues_are_not_held_up(gpu: Any) -> None:
    """A queue at its limit is skipped, whatever the priority of its jobs."""
    gpu.add("urgent", queue="gpu", priority=9)
    gpu.add("other")
    gpu.claim(), gpu.claim()
    assert _ids(gpu.claim(9)) == ["other"]


def test_changed_limit(gpu: Any) -> None:
    """A lower limit lets running jobs end; without a limit all are claimed."""
    (first,), (second,) = gpu.claim(), gpu.claim()
    set_limit(gpu.store.db, "gpu", 1)
    gpu.settle(first)
    assert gpu.claim() == []
    gpu.settle(second)
    gpu.claim_job("c")
    assert gpu.claim() == []
    set_limit(gpu.store.db, "gpu", None)
    assert read_limits(gpu.store.db) == []
    assert _ids(gpu.claim(9)) == ["d", "e"]


def test_concurrent_claims(harness: StoreHarness) -> None:
    """Eight threads that claim and settle at once never hold more than the limit."""
    set_limit(harness.store.db, "gpu", 3)
    harness.enqueue(*({"command": "x", "queue": "gpu"} for _ in range(120)))
    most: list[int] = []

    def work(number: int) -> None:
        while harness.store.db.query("SELECT 1 FROM jobs WHERE state <> 'completed' LIMIT 1"):
            for lease in harness.claim(5, f"worker-{number}"):
                most.append(read_limits(harness.store.db)[0].running)
                harness.settle(lease)

    with in_threads(*(partial(work, number) for number in range(8))):
        pass
    assert len(most) == 120
    assert max(most) <= 3
