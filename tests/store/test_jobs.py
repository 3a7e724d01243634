"""Verbs on jobs: several ids are all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import NotFound, WrongState
from queuectl_nb.model.outcome import Cancelled, Exited

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.conftest import StoreHarness


def refusal(harness: StoreHarness, kind: type[Exception], verb: str, *ids: str) -> str:
    """Call a verb that must be refused without a change, and return the error."""
    before = harness.dump()
    with pytest.raises(kind) as caught:
        _do(harness, verb, *ids)
    assert harness.dump() == before
    assert caught.value.exit_code == 5  # type: ignore[attr-defined]
    assert str(caught.value).isprintable()
    return str(caught.value)


def _do(harness: StoreHarness, verb: str, *ids: str) -> Any:
    jobs, now = harness.store.jobs, harness.now
    calls: dict[str, Callable[[], Any]] = {
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


def test_similar_ids(harness: StoreHarness) -> None:
    """The error for an unknown id names the most similar one, of the newest jobs or with the same beginning."""
    harness.add("train-1", *(f"other-{number}" for number in range(300)))
    for unknown, similar in (("train-11", "train-1"), ("uther-299", "other-299")):
        with pytest.raises(NotFound, match=f"^no job {unknown} in .*; did you mean {similar}\\? "):
            harness.store.jobs.get(unknown)
    with pytest.raises(NotFound, match="see 'queuectl list'") as caught:
        harness.store.jobs.get("\u00fc")
    assert "did you mean" not in str(caught.value)


def test_a_running_job(harness: StoreHarness) -> None:
    """It is read with what it has reported so far."""
    harness.add("a")
    lease = harness.claim_job("a")
    (harness.store.db.output_dir / f"{lease.token}.metrics").write_text('{"progress": 0.5, "loss": 2}\n')
    found = harness.store.jobs.get("a")
    assert (found.state, found.progress, found.metrics) == ("processing", 0.5, {"loss": 2})


@pytest.mark.parametrize("verb", ALLOWED)
@pytest.mark.parametrize("state", STATES)
def test_states_of_each_verb(harness: StoreHarness, verb: str, state: str) -> None:
    """Each verb works in the states it accepts; in others it changes nothing and is exit code 5."""
    harness.add_one_per_state()
    if state in ALLOWED[verb]:
        _do(harness, verb, state)
        assert harness.states().get(state) != state or state == "processing"
    else:
        assert f"job {state} is {state}; '{verb}' takes" in refusal(harness, WrongState, verb, state)


@pytest.mark.parametrize("verb", ALLOWED)
@pytest.mark.parametrize("odd", ODD_IDS, ids=lambda odd: ascii(odd)[:20])
def test_unknown_job(harness: StoreHarness, verb: str, odd: str) -> None:
    """An unknown id, whatever its characters, is exit code 5 and one short line; the other jobs are unchanged."""
    harness.add_one_per_state()
    good = next(iter(ALLOWED[verb]))
    message = refusal(harness, NotFound, verb, good, odd)
    assert message.startswith("no job ")
    assert len(message) < 200


@pytest.mark.parametrize("verb", ALLOWED)
def test_several_ids_are_all_or_none(harness: StoreHarness, verb: str) -> None:
    """If one job is refused, none is changed; an id given twice counts once."""
    harness.add_one_per_state()
    good = [each for each in STATES if each in ALLOWED[verb]]
    bad = [each for each in STATES if each not in ALLOWED[verb]]
    for each in bad:
        refusal(harness, WrongState, verb, *good, each)
    _do(harness, verb, *good, *good)


# ---------------------------------------------------------------------- retry


@pytest.mark.parametrize("state", ["completed", "dead", "cancelled"])
def test_retry_of_a_finished_job(harness: StoreHarness, state: str) -> None:
    """The job is ready with 0 attempts and no trace of its last outcome; the history stays."""
    harness.add_one_per_state()
    history = harness.store.reader.attempts(state)
    harness.now += 50
    harness.store.jobs.retry([state], harness.now)
    job = harness.store.jobs.get(state)
    assert (job.state, job.attempts, job.run_at, job.updated_at) == ("pending", 0, harness.now, harness.now)
    assert {job.started_at, job.finished_at, job.exit_code, job.error, job.worker, job.result} == {None}
    assert harness.row(state)["ready"] == 1
    assert harness.store.reader.attempts(state) == history


def test_retry_of_a_failed_job(harness: StoreHarness) -> None:
    """A failed job is pending at once with the attempts it has used; the retry budget is unchanged."""
    harness.add("a", max_retries=2)
    harness.run("a", Exited(1))
    harness.store.jobs.retry(["a"], harness.now)
    assert (harness.state("a"), harness.store.jobs.get("a").attempts) == ("pending", 1)
    harness.run("a", Exited(1))
    assert harness.state("a") == "dead"


def test_concurrent_retries(harness: StoreHarness) -> None:
    """The second of two ``dlq retry`` finds the job pending: exit code 5."""
    harness.add("a")
    harness.exhaust("a")
    _do(harness, "dlq retry", "a")
    refusal(harness, WrongState, "dlq retry", "a")


def test_retry_with_dependencies(harness: StoreHarness) -> None:
    """With an open dependency the job is blocked; with a dead one refused, unless both are named."""
    harness.add("a")
    harness.add("b", after=["a"])
    harness.run("a")
    harness.run("b")
    harness.store.jobs.retry(["a"], harness.now)
    harness.store.jobs.retry(["b"], harness.now)
    assert harness.states() == {"a": "pending", "b": "blocked"}
    harness.exhaust("a")
    assert harness.states() == {"a": "dead", "b": "cancelled"}
    assert "job b waits for a, which is dead; retry that one first" in refusal(harness, WrongState, "retry", "b")
    harness.store.jobs.retry(["b", "a"], harness.now)
    assert harness.states() == {"a": "pending", "b": "blocked"}
    harness.run("a")
    harness.run("b")


def test_retry_of_a_failed_job_ignores_dependencies(harness: StoreHarness) -> None:
    """A failed job was released before: its retry starts now, even if its dependency runs again."""
    harness.add("a")
    harness.add("b", after=["a"])
    harness.run("a")
    harness.run("b", Exited(1))
    harness.store.jobs.retry(["a"], harness.now)
    harness.store.jobs.retry(["b"], harness.now)
    assert harness.states() == {"a": "pending", "b": "pending"}


# ---------------------------------------------------------------------- cancel


def test_cancel(harness: StoreHarness) -> None:
    """Waiting jobs are cancelled at once; for a running one a request is stored and its worker returned."""
    harness.add_one_per_state()
    assert harness.store.jobs.cancel(["pending", "failed", "blocked", "processing"], harness.now) == [
        ("processing", "worker-1")
    ]
    for each in ("pending", "failed", "blocked"):
        job = harness.store.jobs.get(each)
        assert (job.state, job.error, job.finished_at) == ("cancelled", "cancelled by a person", harness.now)
    assert harness.row("processing")["cancel"] == 1
    assert harness.claim(9) == []


def test_cancel_of_a_running_job(harness: StoreHarness) -> None:
    """The job is cancelled whatever the outcome of the attempt, unless it succeeded before it was killed."""
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


def test_pause_and_resume(harness: StoreHarness) -> None:
    """Pausing all is ``*``; a name resumes that queue, no name resumes all; pausing twice is pausing once."""
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


def test_resume_while_all_are_paused(harness: StoreHarness) -> None:
    """While all queues are paused, resuming a single one is refused, as it would not start."""
    harness.store.jobs.pause(None, harness.now)
    with pytest.raises(WrongState, match="all queues are paused, not a by name"):
        harness.store.jobs.resume("a")
    assert harness.store.reader.paused_queues() == ["*"]
