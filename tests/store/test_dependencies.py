"""Dependencies (``--after``) follow the outcome of the job they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.errors import NotFound
from queuectl_nb.model.outcome import Cancelled, Exited
from queuectl_nb.store.claims import EndedAttempt

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


def _chain(harness: StoreHarness) -> None:
    """Create a <- b <- c, and d, which waits for a and e."""
    harness.add("a", "e")
    harness.add("b", after=["a"])
    harness.add("c", after=["b"])
    harness.add("d", after=["a", "e"])


def test_completed_job_releases_dependents(harness: StoreHarness) -> None:
    """A completed job releases its dependents, except those that wait for another job too."""
    _chain(harness)
    harness.now += 5
    harness.run("a")
    assert harness.states() == {"a": "completed", "e": "pending", "b": "pending", "c": "blocked", "d": "blocked"}
    assert (harness.row("b")["ready"], harness.row("b")["run_at"]) == (1, harness.now)
    harness.run("e")
    assert harness.state("d") == "pending"
    harness.run("b")
    assert harness.state("c") == "pending"


def test_settle_returns_the_number_released(harness: StoreHarness) -> None:
    """The worker learns how many jobs became ready, so that it can notify others."""
    _chain(harness)
    for job_id in ("a", "e"):
        ended = EndedAttempt(harness.claim_job(job_id), Exited(0), Ending(harness.now))
        assert harness.settle_and_claim(ended=[ended]).unblocked == 1


@pytest.mark.parametrize("how", ["dies", "is cancelled", "is cancelled while it runs", "is deleted"])
def test_failure_cancels_dependents(harness: StoreHarness, how: str) -> None:
    """Direct and indirect dependents of a dead, cancelled or deleted job are cancelled with the reason."""
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


def test_delete_a_completed_dependency(harness: StoreHarness) -> None:
    """Deleting a completed job does not block those that wait for it and another one."""
    _chain(harness)
    harness.run("a")
    harness.store.jobs.delete(["a"], harness.now)
    harness.run("e")
    assert harness.state("d") == "pending"
    assert harness.query("SELECT count(*) FROM dependents WHERE other = 1") == [(0,)]


def test_many_dependents(harness: StoreHarness) -> None:
    """A thousand jobs that wait for one are released at once; one that waits for a thousand by the last of them."""
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


@pytest.mark.parametrize(
    "how", ["completes", "dies", "is cancelled", "is cancelled while it runs", "is deleted", "is cancelled with others"]
)
def test_after_any(harness: StoreHarness, how: str) -> None:
    """A job that waits for any end of another one runs when that has finished or was deleted, and not before."""
    harness.add("other", priority=-1)
    if how == "is cancelled with others":
        harness.add("first")
    harness.add("a", after=["first"] if how == "is cancelled with others" else [])
    harness.add("b", after_any=["a"])
    harness.add("c", after=["b"])
    harness.add("d", after_any=["a"], after=["other"])
    assert harness.state("b") == "blocked"
    harness.now += 5
    if how == "dies":
        harness.run("a", Exited(1))
        assert (harness.state("a"), harness.state("b")) == ("failed", "blocked"), "it runs again"
        harness.store.settings.set("max_retries", 1)
        harness.now += 1000
        harness.run("a", Exited(1))
        assert harness.state("a") == "dead"
    elif how == "is cancelled":
        harness.store.jobs.cancel(["a"], harness.now)
    elif how == "is cancelled while it runs":
        lease = harness.claim_job("a")
        harness.store.jobs.cancel(["a"], harness.now)
        assert harness.state("b") == "blocked"
        harness.settle(lease, Cancelled())
    elif how == "is deleted":
        harness.store.jobs.delete(["a"], harness.now)
    elif how == "is cancelled with others":
        harness.store.jobs.cancel(["first"], harness.now)
        assert harness.state("a") == "cancelled"
    else:
        harness.run("a")
    assert (harness.row("b")["state"], harness.row("b")["ready"], harness.row("b")["run_at"]) == (
        "pending",
        1,
        harness.now,
    )
    assert (harness.state("c"), harness.state("d")) == ("blocked", "blocked")
    harness.run("b")
    assert harness.state("c") == "pending"
    harness.run("c")
    harness.run("other")
    assert harness.state("d") == "pending"


def test_after_any_of_a_finished_job(harness: StoreHarness) -> None:
    """A new job that waits for any end of finished jobs is due; in a list, a job cancelled on the way counts, too."""
    harness.add("a", "b")
    harness.store.jobs.cancel(["a"], harness.now)
    harness.enqueue(
        {"id": "c", "command": "x", "after": ["a"]},
        {"id": "d", "command": "x", "after_any": ["a", "c"]},
        {"id": "e", "command": "x", "after_any": ["a", "b"]},
    )
    assert {each: harness.state(each) for each in "cde"} == {"c": "cancelled", "d": "pending", "e": "blocked"}
    assert harness.store.jobs.get("e").after == ("a", "b")
    assert harness.store.reader.any_end_of(harness.store.jobs.get("e")) == ["a", "b"]


def test_retry_after_any(harness: StoreHarness) -> None:
    """A cancelled job that waits for any end is retried beside a dead one, and blocked beside a running one."""
    harness.add("a")
    harness.add("b", after_any=["a"])
    harness.store.jobs.cancel(["b"], harness.now)
    harness.store.jobs.retry(["b"], harness.now)
    assert harness.state("b") == "blocked"
    harness.store.jobs.cancel(["b", "a"], harness.now)
    harness.store.jobs.retry(["b"], harness.now)
    assert harness.state("b") == "pending"


def test_a_tree_of_dependents_is_cancelled(harness: StoreHarness) -> None:
    """Those of each cancelled job are cancelled as well, on every branch."""
    harness.add("root", max_retries=1)
    for name, other in (("a", "root"), ("b", "root"), ("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b1")):
        harness.add(name, after=[other])
    harness.run("root", Exited(1))
    assert harness.states() == {"root": "dead", **dict.fromkeys(("a", "b", "a1", "a2", "b1", "b2"), "cancelled")}


def test_an_unknown_dependency(harness: StoreHarness) -> None:
    """It is named with its place in the list, the file and a similar id; nothing is enqueued."""
    harness.add("prepare", "b")
    with pytest.raises(NotFound) as raised:
        harness.enqueue({"command": "true", "id": "c"}, {"command": "true", "id": "d", "after": ["prepair"]})
    assert raised.value.index == 1
    assert f"no job prepair to wait for (after) in {harness.store.path}; " in str(raised.value)
    assert "did you mean prepare" in str(raised.value)
    assert harness.states().keys() == {"prepare", "b"}
