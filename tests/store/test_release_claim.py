"""Released claims, and attempts that cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.outcome import (
    Exited,
    Outcome,
    Returned,
)

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


def _story(harness: StoreHarness, story: str) -> None:
    """Bring job ``a`` to a claimable state in one of several ways."""
    harness.add("a", max_retries=5)
    if story == "new":
        return
    outcome: Outcome = Returned() if "returned" in story else Exited(4)
    lease = harness.claim_job("a")
    harness.now += 1
    harness.settle(lease, outcome, started_at=harness.now - 0.123456789, note="a note")
    if "retried" in story:
        harness.store.jobs.retry(["a"], harness.now)
    if "twice" in story:
        harness.now += 10
        harness.run("a", Exited(5) if "returned" in story else Returned())
    if "fresh" in story:
        harness.exhaust("a")
        harness.store.jobs.retry(["a"], harness.now)
    harness.now += 100


STORIES = [
    "new",
    "failed",
    "failed and retried",
    "returned",
    "returned and failed, twice",
    "failed and returned, twice",
    "failed to death and fresh",
]


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("times", [1, 3])
def test_release_restores_the_row(harness: StoreHarness, story: str, times: int) -> None:
    """Releasing a claim that was not started restores the row and the history exactly."""
    _story(harness, story)
    with harness.store.db.write() as connection:
        connection.execute("UPDATE jobs SET ready = 1")  # as a promotion, which is no part of the claim, would
    aside = {"rev", "updated_at"}
    before = {key: value for key, value in harness.row("a").items() if key not in aside}
    history = harness.store.reader.attempts("a")
    for _ in range(times):
        lease = harness.claim_job("a", "worker-2")
        harness.now += 1
        harness.settle_and_claim(released=[lease])
    assert {key: value for key, value in harness.row("a").items() if key not in aside} == before
    assert harness.store.reader.attempts("a") == history
    assert harness.claim_job("a").number == len(history) + 1


def test_release_of_a_cancelled_claim(harness: StoreHarness) -> None:
    """A claim that was cancelled before its start is cancelled on release, with its dependents."""
    harness.add("a")
    harness.add("b", after=["a"])
    lease = harness.claim_job("a")
    assert harness.store.jobs.cancel(["a"], harness.now) == [("a", "worker-1")]
    harness.settle_and_claim(released=[lease])
    job = harness.store.jobs.get("a")
    assert (job.state, job.error, job.attempts) == ("cancelled", "cancelled by a person", 0)
    assert harness.state("b") == "cancelled"


def test_returned_attempt(harness: StoreHarness) -> None:
    """After an orderly stop during a run the job is pending with the same budget; the attempt is in the history."""
    harness.add("a", max_retries=1)
    for number in (1, 2, 3):
        harness.run("a", Returned())
        job = harness.store.jobs.get("a")
        assert (job.state, job.attempts, job.run_at, job.error) == ("pending", 0, harness.now, None)
        assert [each.outcome for each in harness.store.reader.attempts("a")] == ["returned"] * number
    assert harness.store.reader.attempts("a")[-1].error == "returned: its worker was stopped"


def test_attempt_numbers_continue(harness: StoreHarness) -> None:
    """A fresh budget starts at attempt 1 of 3, while the numbers in the history continue."""
    harness.add("a")
    harness.exhaust("a")
    harness.store.jobs.retry(["a"], harness.now, "dlq retry")
    lease = harness.claim_job("a")
    assert (lease.number, lease.attempts) == (4, 1)
    assert [each.number for each in harness.store.reader.attempts("a")] == [1, 2, 3, 4]
