"""Results are recorded once, and only while the worker holds the attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.outcome import (
    Cancelled,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Returned,
    Signalled,
    SignalledWorker,
    TimedOut,
)
from queuectl_nb.store.claims import EndedAttempt, HeldLease, StartedAttempt

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

ENDINGS: list[tuple[Outcome, str, str, int | None, str | None, str | None]] = [
    (Exited(0), "completed", "succeeded", 0, None, None),
    (Exited(7), "failed", "failed", 7, None, "exit code 7"),
    (Signalled(11), "failed", "failed", None, "SIGSEGV", "killed by SIGSEGV"),
    (SignalledWorker(15), "failed", "failed", None, None, "killed because it sent SIGTERM to its worker"),
    (TimedOut(5), "failed", "timed_out", None, None, TimedOut(5).error),
    (NotStarted("no such folder"), "failed", "not_started", None, None, "could not be started: no such folder"),
    (Lost("worker-1"), "failed", "lost", None, None, "lost: worker-1 died"),
    (Cancelled(), "cancelled", "cancelled", None, None, "cancelled by a person"),
]


@pytest.mark.parametrize(("outcome", "state", "name", "code", "signal", "error"), ENDINGS)
def test_outcomes_are_recorded(
    harness: StoreHarness,
    outcome: Outcome,
    state: str,
    name: str,
    code: int | None,
    signal: str | None,
    error: str | None,
) -> None:
    """Each outcome determines the state of the job; its details are on the job and in the history."""
    harness.add("a")
    lease = harness.claim_job("a")
    harness.now += 3
    harness.settle(
        lease, outcome, started_at=harness.now - 2, stdout="out", stderr=b"\xff", stdout_size=3, stderr_size=1
    )
    job, (attempt,) = harness.store.jobs.get("a"), harness.store.reader.attempts("a")
    assert (job.state, job.exit_code, job.error) == (state, code, error)
    assert (job.started_at, job.finished_at, job.worker) == (harness.now - 2, harness.now, "worker-1")
    assert (attempt.outcome, attempt.exit_code, attempt.signal, attempt.error) == (name, code, signal, error)
    assert (attempt.started_at, attempt.finished_at, attempt.pid) == (harness.now - 2, harness.now, 42)
    assert (attempt.stdout, attempt.stderr) == ("out", b"\xff")
    assert harness.row("a")["token"] is None


def test_default_backoff(harness: StoreHarness) -> None:
    """With the defaults a failing job starts three times, 2 and 4 seconds apart, and is dead with its last error."""
    harness.add("a")
    waits = []
    for attempt in (1, 2, 3):
        harness.run("a", Exited(attempt))
        job = harness.store.jobs.get("a")
        if job.state == "failed":
            assert job.run_at is not None
            waits.append(job.run_at - harness.now)
            harness.now = job.run_at - 0.001
            assert harness.claim() == []
            harness.now = job.run_at
    assert waits == [2, 4]
    assert (job.state, job.attempts, job.exit_code, job.error) == ("dead", 3, 3, "exit code 3")
    harness.now += 10**6
    assert harness.claim() == []


def test_max_retries(harness: StoreHarness) -> None:
    """The job's own ``max_retries`` counts; without it the setting at the time the attempt ends."""
    harness.add("own", max_retries=1)
    harness.add("live")
    harness.run("own", Exited(1))
    lease = harness.claim_job("live")
    harness.store.settings.set("max_retries", 1)
    harness.settle(lease, Exited(1))
    assert harness.states() == {"own": "dead", "live": "dead"}


def test_result_and_note(harness: StoreHarness) -> None:
    """JSON is stored as the result of a completed job only; a note about it is then its error."""
    harness.add("a", "b", "c")
    harness.run("a", result='{"x": 1}')
    harness.run("b", note="its result was not stored")
    harness.run("c", Exited(1), result="1", note="its result was not stored")
    found = {each: harness.store.jobs.get(each) for each in "abc"}
    assert (found["a"].result, found["a"].error) == ({"x": 1}, None)
    assert (found["b"].state, found["b"].result, found["b"].error) == ("completed", None, "its result was not stored")
    assert (found["c"].result, found["c"].error) == (None, "exit code 1")


def test_error_says_why(harness: StoreHarness) -> None:
    """The error of job and attempt has the last line of stderr that says something, also of large output."""
    harness.add("a", "b", "c")
    harness.run("a", Exited(1), stderr="x\nboom\n", stderr_size=7)
    harness.run("b", Exited(1), stderr="x" * 40_000, stderr_tail="y" * 40_000 + "\nboom\n", stderr_size=10**6)
    lease = harness.claim_job("c")
    harness.store.jobs.cancel(["c"], harness.now)
    harness.settle(lease, Exited(1), stderr="boom\n", stderr_size=5)
    errors = {name: harness.store.jobs.get(name).error for name in "abc"}
    assert errors == {"a": "exit code 1: boom", "b": "exit code 1: boom", "c": "cancelled by a person"}
    assert {harness.store.reader.attempts(name)[0].error for name in "abc"} == {"exit code 1: boom"}


def test_settle_and_claim_in_one_commit(harness: StoreHarness) -> None:
    """Settling one job and claiming the next is one revision, visible as a whole."""
    harness.add("a", "b")
    lease = harness.claim_job("a")
    before = harness.store.db.revision()[0]
    turn = harness.settle_and_claim(ended=[EndedAttempt(lease, Exited(0), Ending(harness.now))], limit=1)
    assert [each.job_id for each in turn.leases] == ["b"]
    assert harness.store.db.revision()[0] == before + 1


def test_start_of_a_long_attempt(harness: StoreHarness) -> None:
    """A long attempt's pid is in the history, its exact start there and on the job."""
    harness.add("a")
    lease = harness.claim_job("a")
    harness.settle_and_claim(started=[StartedAttempt(lease, 77, harness.now + 0.5)])
    (attempt,) = harness.store.reader.attempts("a")
    assert (attempt.pid, attempt.started_at) == (77, harness.now + 0.5)
    assert harness.store.jobs.get("a").started_at == harness.now + 0.5
    harness.settle(lease, Lost("worker-1"), started_at=None, pid=None)
    (attempt,) = harness.store.reader.attempts("a")
    assert (attempt.pid, attempt.started_at) == (77, harness.now + 0.5)
    assert harness.store.jobs.get("a").started_at == harness.now + 0.5


def test_jobs_done(harness: StoreHarness) -> None:
    """``jobs_done`` counts recorded results; late ones do not count."""
    harness.store.workers.register(lambda _: True, pool=1, host="h", queues=(), now=harness.now)
    harness.add("a", "b")
    first, second = harness.claim(1) + harness.claim(1)
    harness.settle(first)
    harness.settle(first)
    harness.settle(second, Exited(1))
    assert [row.jobs_done for row in harness.store.workers.list_all()] == [2]


def _lose(harness: StoreHarness) -> tuple[Any, str]:
    """Claim a job, lose it to a rescuer and another worker; return the first lease and the stored rows."""
    harness.add("a")
    lease = harness.claim_job("a")
    harness.settle(lease, Lost("worker-1"))
    harness.now += 10
    harness.claim_job("a", "worker-2")
    return lease, "\n".join(harness.dump())


@pytest.mark.parametrize("outcome", [row[0] for row in ENDINGS] + [Returned()])
def test_late_result(harness: StoreHarness, outcome: Outcome) -> None:
    """A result after the lease was lost changes no row, and the caller is informed."""
    lease, before = _lose(harness)
    assert harness.settle(lease, outcome, stdout="late", result="1") is None
    assert "\n".join(harness.dump()) == before


def test_late_result_of_a_finished_job(harness: StoreHarness) -> None:
    """A result for an attempt that was settled by another process changes nothing, also if the job has finished."""
    harness.add("a")
    lease = harness.claim_job("a")
    harness.settle(lease)
    before = harness.dump()
    assert harness.settle(lease, Exited(1)) is None
    harness.settle_and_claim(released=[lease])
    assert harness.dump() == before


def test_late_release_or_start(harness: StoreHarness) -> None:
    """Releasing or starting an attempt that the worker no longer holds changes no row."""
    lease, before = _lose(harness)
    harness.settle_and_claim(released=[lease], started=[StartedAttempt(lease, 1, 1.0)])
    harness.settle_and_claim(released=[HeldLease(lease.seq, lease.job_id, lease.number, lease.token)])
    assert "\n".join(harness.dump()) == before
