"""Claims that are given back, and attempts that cost nothing."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.outcome import (
    Exited,
    Outcome,
    Returned,
)


def _story(desk: Any, story: str) -> None:
    """Bring job ``a`` to a moment in which it can be claimed."""
    desk.add("a", max_retries=5)
    if story == "new":
        return
    outcome: Outcome = Returned() if "returned" in story else Exited(4)
    lease = desk.take("a")
    desk.now += 1
    desk.end(lease, outcome, started_at=desk.now - 0.123456789, note="a note")
    if "retried" in story:
        desk.store.jobs.retry(["a"], desk.now)
    if "twice" in story:
        desk.now += 10
        desk.run("a", Exited(5) if "returned" in story else Returned())
    if "fresh" in story:
        desk.kill("a")
        desk.store.jobs.retry(["a"], desk.now)
    desk.now += 100


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
def test_a_claim_given_back_was_never_made(desk: Any, story: str, times: int) -> None:
    """Whatever happened before, a claim given back unstarted leaves the very row and history that were there."""
    _story(desk, story)
    with desk.store.db.write() as connection:
        connection.execute("UPDATE jobs SET ready = 1")  # as a promotion, which is no part of the claim, would
    aside = {"rev", "updated_at"}
    before = {key: value for key, value in desk.row("a").items() if key not in aside}
    history = desk.store.reader.attempts("a")
    for _ in range(times):
        lease = desk.take("a", "worker-2")
        desk.now += 1
        desk.turn(back=[lease])
    assert {key: value for key, value in desk.row("a").items() if key not in aside} == before
    assert desk.store.reader.attempts("a") == history
    assert desk.take("a").number == len(history) + 1


def test_a_claim_that_was_cancelled_meanwhile_is_cancelled_when_it_comes_back(desk: Any) -> None:
    """A person cancelled what was claimed and not started: given back it is cancelled, and so is what waits for it."""
    desk.add("a")
    desk.add("b", after=["a"])
    lease = desk.take("a")
    assert desk.store.jobs.cancel(["a"], desk.now) == [("a", "worker-1")]
    desk.turn(back=[lease])
    job = desk.store.jobs.get("a")
    assert (job.state, job.error, job.attempts) == ("cancelled", "cancelled by a person", 0)
    assert desk.state("b") == "cancelled"


def test_an_attempt_that_is_returned_costs_nothing(desk: Any) -> None:
    """An orderly stop in the middle of a run: pending at once, the budget as before, the attempt in the history."""
    desk.add("a", max_retries=1)
    for number in (1, 2, 3):
        desk.run("a", Returned())
        job = desk.store.jobs.get("a")
        assert (job.state, job.attempts, job.run_at, job.error) == ("pending", 0, desk.now, None)
        assert [each.outcome for each in desk.store.reader.attempts("a")] == ["returned"] * number
    assert desk.store.reader.attempts("a")[-1].error == "given back: its worker was stopped"


def test_numbers_go_on_over_budgets(desk: Any) -> None:
    """A fresh budget begins at attempt 1 of 3, while the history is numbered on."""
    desk.add("a")
    desk.kill("a")
    desk.store.jobs.retry(["a"], desk.now, "dlq retry")
    lease = desk.take("a")
    assert (lease.number, lease.attempts) == (4, 1)
    assert [each.number for each in desk.store.reader.attempts("a")] == [1, 2, 3, 4]
