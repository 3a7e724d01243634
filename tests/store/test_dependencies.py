"""What waits for a job (--after) follows what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.outcome import Cancelled, Exited
from queuectl_nb.store.claims import EndedAttempt


def _chain(harness: Any) -> None:
    """Make a <- b <- c, and d which waits for a and e."""
    harness.add("a", "e")
    harness.add("b", after=["a"])
    harness.add("c", after=["b"])
    harness.add("d", after=["a", "e"])


def test_what_completes_lets_those_go_that_wait_for_nothing_else(harness: Any) -> None:
    """A completed job frees its dependents one by one; who waits for another too goes on waiting."""
    _chain(harness)
    harness.now += 5
    harness.run("a")
    assert harness.states() == {"a": "completed", "e": "pending", "b": "pending", "c": "blocked", "d": "blocked"}
    assert (harness.row("b")["ready"], harness.row("b")["run_at"]) == (1, harness.now)
    harness.run("e")
    assert harness.state("d") == "pending"
    harness.run("b")
    assert harness.state("c") == "pending"


def test_a_turn_tells_how_many_it_woke(harness: Any) -> None:
    """The worker learns how many jobs became ready by what it recorded, so that it can ring for them."""
    _chain(harness)
    for job_id in ("a", "e"):
        ended = EndedAttempt(harness.claim_job(job_id), Exited(0), Ending(harness.now))
        assert harness.settle_and_claim(ended=[ended]).unblocked == 1


@pytest.mark.parametrize("how", ["dies", "is cancelled", "is cancelled while it runs", "is deleted"])
def test_what_ends_badly_takes_all_that_wait_for_it_along(harness: Any, how: str) -> None:
    """Dead, cancelled or deleted: everything that waits for it, directly or not, is cancelled with the reason."""
    _chain(harness)
    word = "cancelled"
    if how == "dies":
        harness.store.settings.set("max_retries", 1)
        harness.run("a", Exited(1))
        word = "dead"
    elif how == "is cancelled":
        harness.store.jobs.cancel(["a"], harness.now)
    elif how == "is cancelled while it runs":
        lease = harness.claim_job("a")
        harness.store.jobs.cancel(["a"], harness.now)
        harness.settle(lease, Cancelled())
    else:
        harness.store.jobs.delete(["a"], harness.now)
    errors = {each: harness.store.jobs.get(each).error for each in "bcd"}
    reason = (
        "job a, which it waited for, was deleted" if how == "is deleted" else f"job a, which it waited for, is {word}"
    )
    assert errors == {"b": reason, "c": "job b, which it waited for, is cancelled", "d": reason}
    assert {harness.state(each) for each in "bcd"} == {"cancelled"}
    assert harness.state("e") == "pending"


def test_a_completed_job_may_go_while_others_wait_on(harness: Any) -> None:
    """Deleting a completed job does not hold up who waits for it and another."""
    _chain(harness)
    harness.run("a")
    harness.store.jobs.delete(["a"], harness.now)
    harness.run("e")
    assert harness.state("d") == "pending"
    assert harness.query("SELECT count(*) FROM dependents WHERE other = 1") == [(0,)]


def test_a_wide_fan_is_released_in_one_go(harness: Any) -> None:
    """A thousand jobs that wait for one are all freed by its end; one that waits for a thousand by the last."""
    harness.add("root")
    harness.enqueue(*({"id": f"leaf-{n}", "command": "x", "after": "root"} for n in range(1000)))
    harness.enqueue({"id": "join", "command": "x", "after": [f"leaf-{n}" for n in range(1000)]})
    harness.run("root")
    leases = harness.claim(1000)
    assert len(leases) == 1000
    for lease in leases[:-1]:
        harness.settle(lease)
    assert harness.state("join") == "blocked"
    harness.settle(leases[-1])
    assert harness.state("join") == "pending"
