"""What people do to jobs: several ids are all or none."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.errors import NotFound, WrongState
from queuectl_nb.model.outcome import Cancelled, Exited


def _refused(harness: Any, kind: type[Exception], verb: str, *ids: str) -> str:
    """Try a verb that must be refused, and return its line; nothing may have changed."""
    before = harness.dump()
    with pytest.raises(kind) as caught:
        _do(harness, verb, *ids)
    assert harness.dump() == before
    assert caught.value.exit_code == 5  # type: ignore[attr-defined]
    assert str(caught.value).isprintable()
    return str(caught.value)


def _do(harness: Any, verb: str, *ids: str) -> Any:
    jobs, now = harness.store.jobs, harness.now
    calls = {
        "retry": lambda: jobs.retry(ids, now),
        "dlq retry": lambda: jobs.retry(ids, now, "dlq retry"),
        "cancel": lambda: jobs.cancel(ids, now),
        "delete": lambda: jobs.delete(ids, now),
        "dlq purge": lambda: jobs.delete(ids, now, "dlq purge"),
    }
    return calls[verb]()


ALLOWED = {
    "retry": {"failed", "dead", "cancelled", "completed"},
    "dlq retry": {"dead"},
    "cancel": {"pending", "processing", "failed", "blocked"},
    "delete": {"pending", "failed", "completed", "dead", "cancelled", "blocked"},
    "dlq purge": {"dead"},
}
STATES = ["pending", "processing", "failed", "completed", "dead", "cancelled", "blocked"]
ODD_IDS = ["nobody", "", "a\udcff", "' OR 1=1--", "x" * 1000, "a\0", "\u202e"]


@pytest.mark.parametrize("verb", ALLOWED)
@pytest.mark.parametrize("state", STATES)
def test_a_verb_takes_its_states_and_no_other(harness: Any, verb: str, state: str) -> None:
    """Each verb does its work on a job of the states it takes; on another it changes nothing: exit code 5."""
    harness.add_one_per_state()
    if state in ALLOWED[verb]:
        _do(harness, verb, state)
        assert harness.states().get(state) != state or state == "processing"
    else:
        assert f"job {state} is {state}; '{verb}' takes" in _refused(harness, WrongState, verb, state)


@pytest.mark.parametrize("verb", ALLOWED)
@pytest.mark.parametrize("odd", ODD_IDS, ids=lambda odd: ascii(odd)[:20])
def test_an_unknown_job_is_named_and_nothing_is_done(harness: Any, verb: str, odd: str) -> None:
    """An id that is not there, whatever its characters: exit code 5 in one short line, nothing done to the others."""
    harness.add_one_per_state()
    good = next(iter(ALLOWED[verb]))
    message = _refused(harness, NotFound, verb, good, odd)
    assert message.startswith("no job ")
    assert len(message) < 200


@pytest.mark.parametrize("verb", ALLOWED)
def test_several_ids_are_all_or_none(harness: Any, verb: str) -> None:
    """One job that the verb does not take, and none of the others is touched; one named twice counts once."""
    harness.add_one_per_state()
    good = [each for each in STATES if each in ALLOWED[verb]]
    bad = [each for each in STATES if each not in ALLOWED[verb]]
    for each in bad:
        _refused(harness, WrongState, verb, *good, each)
    _do(harness, verb, *good, *good)


# ---------------------------------------------------------------------- retry


@pytest.mark.parametrize("state", ["completed", "dead", "cancelled"])
def test_retry_of_a_job_at_rest_is_a_fresh_budget(harness: Any, state: str) -> None:
    """At rest: pending and ready now, attempts 0, nothing left of the last end; the history stays."""
    harness.add_one_per_state()
    history = harness.store.reader.attempts(state)
    harness.now += 50
    harness.store.jobs.retry([state], harness.now)
    job = harness.store.jobs.get(state)
    assert (job.state, job.attempts, job.run_at, job.updated_at) == ("pending", 0, harness.now, harness.now)
    assert {job.started_at, job.finished_at, job.exit_code, job.error, job.worker, job.result} == {None}
    assert harness.row(state)["ready"] == 1
    assert harness.store.reader.attempts(state) == history


def test_retry_of_a_failed_job_skips_its_wait_only(harness: Any) -> None:
    """Failed: pending now, with what is used of its budget; one more failure and it is where it would have been."""
    harness.add("a", max_retries=2)
    harness.run("a", Exited(1))
    harness.store.jobs.retry(["a"], harness.now)
    assert (harness.state("a"), harness.store.jobs.get("a").attempts) == ("pending", 1)
    harness.run("a", Exited(1))
    assert harness.state("a") == "dead"


def test_two_retries_at_once_one_wins(harness: Any) -> None:
    """The second of two ``dlq retry`` of one job finds it pending: exit code 5."""
    harness.add("a")
    harness.exhaust("a")
    _do(harness, "dlq retry", "a")
    _refused(harness, WrongState, "dlq retry", "a")


def test_retry_waits_again_for_what_is_open_again(harness: Any) -> None:
    """Where the predecessor runs again: blocked again; where it is hopeless: refused, unless both are named."""
    harness.add("a")
    harness.add("b", after=["a"])
    harness.run("a")
    harness.run("b")
    harness.store.jobs.retry(["a"], harness.now)
    harness.store.jobs.retry(["b"], harness.now)
    assert harness.states() == {"a": "pending", "b": "blocked"}
    harness.exhaust("a")
    assert harness.states() == {"a": "dead", "b": "cancelled"}
    assert "job b waits for a, which is dead; retry that one first" in _refused(harness, WrongState, "retry", "b")
    harness.store.jobs.retry(["b", "a"], harness.now)
    assert harness.states() == {"a": "pending", "b": "blocked"}
    harness.run("a")
    harness.run("b")


def test_a_failed_job_is_not_held_up_by_its_predecessors_rerun(harness: Any) -> None:
    """A failed job has been released already: its retry starts now, though what it once waited for runs again."""
    harness.add("a")
    harness.add("b", after=["a"])
    harness.run("a")
    harness.run("b", Exited(1))
    harness.store.jobs.retry(["a"], harness.now)
    harness.store.jobs.retry(["b"], harness.now)
    assert harness.states() == {"a": "pending", "b": "pending"}


# ---------------------------------------------------------------------- cancel


def test_cancel_is_at_once_for_what_nobody_runs(harness: Any) -> None:
    """Waiting jobs are cancelled on the spot, by a person; a running one is marked and its worker named."""
    harness.add_one_per_state()
    assert harness.store.jobs.cancel(["pending", "failed", "blocked", "processing"], harness.now) == [
        ("processing", "worker-1")
    ]
    for each in ("pending", "failed", "blocked"):
        job = harness.store.jobs.get(each)
        assert (job.state, job.error, job.finished_at) == ("cancelled", "cancelled by a person", harness.now)
    assert harness.row("processing")["cancel"] == 1
    assert harness.claim(9) == []


def test_a_running_job_that_was_cancelled_ends_cancelled(harness: Any) -> None:
    """However the attempt ends after the mark, the job is cancelled; only success before the kill stands."""
    harness.add("a", "b", "c")
    leases = {each: harness.claim_job(each) for each in "abc"}
    harness.store.jobs.cancel(["a", "b", "c"], harness.now)
    harness.store.jobs.cancel(["a"], harness.now)
    harness.settle(leases["a"], Cancelled())
    harness.settle(leases["b"], Exited(1))
    harness.settle(leases["c"], Exited(0))
    assert harness.states() == {"a": "cancelled", "b": "cancelled", "c": "completed"}
    assert harness.query("SELECT sum(cancel) FROM jobs") == [(0,)]


# ---------------------------------------------------------------------- pause


def test_pauses_are_by_name_or_for_all(harness: Any) -> None:
    """A pause of all is ``*``; a name lifts that one, no name lifts all; pausing twice is one pause."""
    jobs, paused = harness.store.jobs, harness.store.reader.paused_queues
    jobs.pause("b", harness.now)
    jobs.pause("a", harness.now)
    jobs.pause("a", harness.now)
    assert paused() == ["a", "b"]
    jobs.resume("a")
    assert paused() == ["b"]
    jobs.pause(None, harness.now)
    assert paused() == ["*"]
    jobs.resume(None)
    assert paused() == []
    jobs.resume("never-paused")


def test_a_resume_that_would_change_nothing_says_so(harness: Any) -> None:
    """While everything is paused, resuming a queue that is not paused by its name is refused: it would not start."""
    harness.store.jobs.pause(None, harness.now)
    with pytest.raises(WrongState, match="all queues are paused, not a by name"):
        harness.store.jobs.resume("a")
    assert harness.store.reader.paused_queues() == ["*"]
