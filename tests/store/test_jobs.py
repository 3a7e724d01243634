"""What people do to jobs: several ids are all or none."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.errors import NotFound, WrongState
from queuectl_nb.model.outcome import Cancelled, Exited


def _refused(desk: Any, kind: type[Exception], verb: str, *ids: str) -> str:
    """Try a verb that must be refused, and return its line; nothing may have changed."""
    before = desk.dump()
    with pytest.raises(kind) as caught:
        _do(desk, verb, *ids)
    assert desk.dump() == before
    assert caught.value.exit_code == 5  # type: ignore[attr-defined]
    assert str(caught.value).isprintable()
    return str(caught.value)


def _do(desk: Any, verb: str, *ids: str) -> Any:
    jobs, now = desk.store.jobs, desk.now
    calls = {
        "retry": lambda: jobs.retry(ids, now),
        "dlq retry": lambda: jobs.retry(ids, now, "dlq retry"),
        "cancel": lambda: jobs.cancel(ids, now),
        "delete": lambda: jobs.delete(ids, now),
        "dlq purge": lambda: jobs.delete(ids, now, "dlq purge"),
    }
    return calls[verb]()


TAKES = {
    "retry": {"failed", "dead", "cancelled", "completed"},
    "dlq retry": {"dead"},
    "cancel": {"pending", "processing", "failed", "blocked"},
    "delete": {"pending", "failed", "completed", "dead", "cancelled", "blocked"},
    "dlq purge": {"dead"},
}
STATES = ["pending", "processing", "failed", "completed", "dead", "cancelled", "blocked"]
ODD_IDS = ["nobody", "", "a\udcff", "' OR 1=1--", "x" * 1000, "a\0", "\u202e"]


@pytest.mark.parametrize("verb", TAKES)
@pytest.mark.parametrize("state", STATES)
def test_a_verb_takes_its_states_and_no_other(desk: Any, verb: str, state: str) -> None:
    """Each verb does its work on a job of the states it takes; on another it changes nothing: exit code 5."""
    desk.one_of_each()
    if state in TAKES[verb]:
        _do(desk, verb, state)
        assert desk.states().get(state) != state or state == "processing"
    else:
        assert f"job {state} is {state}; '{verb}' takes" in _refused(desk, WrongState, verb, state)


@pytest.mark.parametrize("verb", TAKES)
@pytest.mark.parametrize("odd", ODD_IDS, ids=lambda odd: ascii(odd)[:20])
def test_an_unknown_job_is_named_and_nothing_is_done(desk: Any, verb: str, odd: str) -> None:
    """An id that is not there, whatever its characters: exit code 5 in one short line, nothing done to the others."""
    desk.one_of_each()
    good = next(iter(TAKES[verb]))
    message = _refused(desk, NotFound, verb, good, odd)
    assert message.startswith("no job ")
    assert len(message) < 200


@pytest.mark.parametrize("verb", TAKES)
def test_several_ids_are_all_or_none(desk: Any, verb: str) -> None:
    """One job that the verb does not take, and none of the others is touched; one named twice counts once."""
    desk.one_of_each()
    good = [each for each in STATES if each in TAKES[verb]]
    bad = [each for each in STATES if each not in TAKES[verb]]
    for each in bad:
        _refused(desk, WrongState, verb, *good, each)
    _do(desk, verb, *good, *good)


# ---------------------------------------------------------------------- retry


@pytest.mark.parametrize("state", ["completed", "dead", "cancelled"])
def test_retry_of_a_job_at_rest_is_a_fresh_budget(desk: Any, state: str) -> None:
    """At rest: pending and ready now, attempts 0, nothing left of the last end; the history stays."""
    desk.one_of_each()
    history = desk.store.reader.attempts(state)
    desk.now += 50
    desk.store.jobs.retry([state], desk.now)
    job = desk.store.jobs.get(state)
    assert (job.state, job.attempts, job.run_at, job.updated_at) == ("pending", 0, desk.now, desk.now)
    assert {job.started_at, job.finished_at, job.exit_code, job.error, job.worker, job.result} == {None}
    assert desk.row(state)["ready"] == 1
    assert desk.store.reader.attempts(state) == history


def test_retry_of_a_failed_job_skips_its_wait_only(desk: Any) -> None:
    """Failed: pending now, with what is used of its budget; one more failure and it is where it would have been."""
    desk.add("a", max_retries=2)
    desk.run("a", Exited(1))
    desk.store.jobs.retry(["a"], desk.now)
    assert (desk.state("a"), desk.store.jobs.get("a").attempts) == ("pending", 1)
    desk.run("a", Exited(1))
    assert desk.state("a") == "dead"


def test_two_retries_at_once_one_wins(desk: Any) -> None:
    """The second of two ``dlq retry`` of one job finds it pending: exit code 5."""
    desk.add("a")
    desk.kill("a")
    _do(desk, "dlq retry", "a")
    _refused(desk, WrongState, "dlq retry", "a")


def test_retry_waits_again_for_what_is_open_again(desk: Any) -> None:
    """Where the predecessor runs again: blocked again; where it is hopeless: refused, unless both are named."""
    desk.add("a")
    desk.add("b", after=["a"])
    desk.run("a")
    desk.run("b")
    desk.store.jobs.retry(["a"], desk.now)
    desk.store.jobs.retry(["b"], desk.now)
    assert desk.states() == {"a": "pending", "b": "blocked"}
    desk.kill("a")
    assert desk.states() == {"a": "dead", "b": "cancelled"}
    assert "job b waits for a, which is dead; retry that one first" in _refused(desk, WrongState, "retry", "b")
    desk.store.jobs.retry(["b", "a"], desk.now)
    assert desk.states() == {"a": "pending", "b": "blocked"}
    desk.run("a")
    desk.run("b")


def test_a_failed_job_is_not_held_up_by_its_predecessors_rerun(desk: Any) -> None:
    """A failed job has been released already: its retry starts now, though what it once waited for runs again."""
    desk.add("a")
    desk.add("b", after=["a"])
    desk.run("a")
    desk.run("b", Exited(1))
    desk.store.jobs.retry(["a"], desk.now)
    desk.store.jobs.retry(["b"], desk.now)
    assert desk.states() == {"a": "pending", "b": "pending"}


# ---------------------------------------------------------------------- cancel


def test_cancel_is_at_once_for_what_nobody_runs(desk: Any) -> None:
    """Waiting jobs are cancelled on the spot, by a person; a running one is marked and its worker named."""
    desk.one_of_each()
    assert desk.store.jobs.cancel(["pending", "failed", "blocked", "processing"], desk.now) == [
        ("processing", "worker-1")
    ]
    for each in ("pending", "failed", "blocked"):
        job = desk.store.jobs.get(each)
        assert (job.state, job.error, job.finished_at) == ("cancelled", "cancelled by a person", desk.now)
    assert desk.row("processing")["cancel"] == 1
    assert desk.claim(9) == []


def test_a_running_job_that_was_cancelled_ends_cancelled(desk: Any) -> None:
    """However the attempt ends after the mark, the job is cancelled; only success before the kill stands."""
    desk.add("a", "b", "c")
    leases = {each: desk.take(each) for each in "abc"}
    desk.store.jobs.cancel(["a", "b", "c"], desk.now)
    desk.store.jobs.cancel(["a"], desk.now)
    desk.end(leases["a"], Cancelled())
    desk.end(leases["b"], Exited(1))
    desk.end(leases["c"], Exited(0))
    assert desk.states() == {"a": "cancelled", "b": "cancelled", "c": "completed"}
    assert desk.rows("SELECT sum(cancel) FROM jobs") == [(0,)]


# ---------------------------------------------------------------------- pause


def test_pauses_are_by_name_or_for_all(desk: Any) -> None:
    """A pause of all is ``*``; a name lifts that one, no name lifts all; pausing twice is one pause."""
    jobs, paused = desk.store.jobs, desk.store.reader.paused
    jobs.pause("b", desk.now)
    jobs.pause("a", desk.now)
    jobs.pause("a", desk.now)
    assert paused() == ["a", "b"]
    jobs.resume("a")
    assert paused() == ["b"]
    jobs.pause(None, desk.now)
    assert paused() == ["*", "b"]
    jobs.resume(None)
    assert paused() == []
    jobs.resume("never-paused")


def test_a_resume_that_would_change_nothing_says_so(desk: Any) -> None:
    """While everything is paused, resuming a queue that is not paused by its name is refused: it would not start."""
    desk.store.jobs.pause(None, desk.now)
    with pytest.raises(WrongState, match="everything is paused, not queue a by its name"):
        desk.store.jobs.resume("a")
    assert desk.store.reader.paused() == ["*"]
