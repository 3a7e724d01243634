"""What waits for a job (--after) follows what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.outcome import Cancelled, Exited
from queuectl_nb.store.claims import EndedAttempt


def _chain(desk: Any) -> None:
    """Make a <- b <- c, and d which waits for a and e."""
    desk.add("a", "e")
    desk.add("b", after=["a"])
    desk.add("c", after=["b"])
    desk.add("d", after=["a", "e"])


def test_what_completes_lets_those_go_that_wait_for_nothing_else(desk: Any) -> None:
    """A completed job frees its dependents one by one; who waits for another too goes on waiting."""
    _chain(desk)
    desk.now += 5
    desk.run("a")
    assert desk.states() == {"a": "completed", "e": "pending", "b": "pending", "c": "blocked", "d": "blocked"}
    assert (desk.row("b")["ready"], desk.row("b")["run_at"]) == (1, desk.now)
    desk.run("e")
    assert desk.state("d") == "pending"
    desk.run("b")
    assert desk.state("c") == "pending"


def test_a_turn_tells_how_many_it_woke(desk: Any) -> None:
    """The worker learns how many jobs became ready by what it recorded, so that it can ring for them."""
    _chain(desk)
    for job_id in ("a", "e"):
        ended = EndedAttempt(desk.take(job_id), Exited(0), Ending(desk.now))
        assert desk.turn(ended=[ended]).woken == 1


@pytest.mark.parametrize("how", ["dies", "is cancelled", "is cancelled while it runs", "is deleted"])
def test_what_ends_badly_takes_all_that_wait_for_it_along(desk: Any, how: str) -> None:
    """Dead, cancelled or deleted: everything that waits for it, directly or not, is cancelled with the reason."""
    _chain(desk)
    word = "cancelled"
    if how == "dies":
        desk.store.settings.set("max_retries", 1)
        desk.run("a", Exited(1))
        word = "dead"
    elif how == "is cancelled":
        desk.store.jobs.cancel(["a"], desk.now)
    elif how == "is cancelled while it runs":
        lease = desk.take("a")
        desk.store.jobs.cancel(["a"], desk.now)
        desk.end(lease, Cancelled())
    else:
        desk.store.jobs.delete(["a"], desk.now)
    errors = {each: desk.store.jobs.get(each).error for each in "bcd"}
    reason = (
        "job a, which it waited for, was deleted" if how == "is deleted" else f"job a, which it waited for, is {word}"
    )
    assert errors == {"b": reason, "c": "job b, which it waited for, is cancelled", "d": reason}
    assert {desk.state(each) for each in "bcd"} == {"cancelled"}
    assert desk.state("e") == "pending"


def test_a_completed_job_may_go_while_others_wait_on(desk: Any) -> None:
    """Deleting a completed job does not hold up who waits for it and another."""
    _chain(desk)
    desk.run("a")
    desk.store.jobs.delete(["a"], desk.now)
    desk.run("e")
    assert desk.state("d") == "pending"
    assert desk.rows("SELECT count(*) FROM dependents WHERE other = 1") == [(0,)]


def test_a_wide_fan_is_released_in_one_go(desk: Any) -> None:
    """A thousand jobs that wait for one are all freed by its end; one that waits for a thousand by the last."""
    desk.add("root")
    desk.enqueue(*({"id": f"leaf-{n}", "command": "x", "after": "root"} for n in range(1000)))
    desk.enqueue({"id": "join", "command": "x", "after": [f"leaf-{n}" for n in range(1000)]})
    desk.run("root")
    leases = desk.claim(1000)
    assert len(leases) == 1000
    for lease in leases[:-1]:
        desk.end(lease)
    assert desk.state("join") == "blocked"
    desk.end(leases[-1])
    assert desk.state("join") == "pending"
