"""What a worker brings is recorded once, and only while the attempt is its own."""

from __future__ import annotations

from typing import Any

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
    TimedOut,
)
from queuectl_nb.store.claims import EndedAttempt, HeldLease, StartedAttempt

ENDINGS: list[tuple[Outcome, str, str, int | None, str | None, str | None]] = [
    (Exited(0), "completed", "succeeded", 0, None, None),
    (Exited(7), "failed", "failed", 7, None, "exit code 7"),
    (Signalled(11), "failed", "failed", None, "SIGSEGV", "killed by SIGSEGV"),
    (TimedOut(5), "failed", "timed_out", None, None, TimedOut(5).error),
    (NotStarted("no such folder"), "failed", "not_started", None, None, "could not be started: no such folder"),
    (Lost("worker-1"), "failed", "lost", None, None, "lost: worker-1 died"),
    (Cancelled(), "cancelled", "cancelled", None, None, "cancelled by a person"),
]


@pytest.mark.parametrize(("outcome", "state", "name", "code", "signal", "error"), ENDINGS)
def test_an_ending_is_recorded(  # noqa: PLR0917 - a row of the table
    desk: Any, outcome: Outcome, state: str, name: str, code: int | None, signal: str | None, error: str | None
) -> None:
    """Each outcome leaves its state on the job, and its facts on the job and in the history."""
    desk.add("a")
    lease = desk.take("a")
    desk.now += 3
    desk.end(lease, outcome, started_at=desk.now - 2, stdout="out", stderr=b"\xff", stdout_size=3, stderr_size=1)
    job, (attempt,) = desk.store.jobs.get("a"), desk.store.reader.attempts("a")
    assert (job.state, job.exit_code, job.error) == (state, code, error)
    assert (job.started_at, job.finished_at, job.worker) == (desk.now - 2, desk.now, "worker-1")
    assert (attempt.outcome, attempt.exit_code, attempt.signal, attempt.error) == (name, code, signal, error)
    assert (attempt.started_at, attempt.finished_at, attempt.pid) == (desk.now - 2, desk.now, 42)
    assert (attempt.stdout, attempt.stderr) == ("out", b"\xff")
    assert desk.row("a")["token"] is None


def test_failures_wait_longer_and_longer_then_it_is_dead(desk: Any) -> None:
    """With the defaults a failing job starts three times, 2 and 4 seconds apart, and is dead with its last error."""
    desk.add("a")
    waits = []
    for attempt in (1, 2, 3):
        desk.run("a", Exited(attempt))
        job = desk.store.jobs.get("a")
        if job.state == "failed":
            waits.append(job.run_at - desk.now)
            desk.now = job.run_at - 0.001
            assert desk.claim() == []
            desk.now = job.run_at
    assert waits == [2, 4]
    assert (job.state, job.attempts, job.exit_code, job.error) == ("dead", 3, 3, "exit code 3")
    desk.now += 10**6
    assert desk.claim() == []


def test_a_jobs_own_retries_win_and_settings_are_live(desk: Any) -> None:
    """A job's own ``max_retries`` counts; one without follows the setting of the moment in which it ends."""
    desk.add("own", max_retries=1)
    desk.add("live")
    desk.run("own", Exited(1))
    lease = desk.take("live")
    desk.store.settings.set("max_retries", 1)
    desk.end(lease, Exited(1))
    assert desk.states() == {"own": "dead", "live": "dead"}


def test_a_result_and_a_note_stay_with_success_only(desk: Any) -> None:
    """The JSON that a job left is its result when it completed; a note about it is its error then."""
    desk.add("a", "b", "c")
    desk.run("a", result='{"x": 1}')
    desk.run("b", note="its result was not taken")
    desk.run("c", Exited(1), result="1", note="its result was not taken")
    found = {each: desk.store.jobs.get(each) for each in "abc"}
    assert (found["a"].result, found["a"].error) == ({"x": 1}, None)
    assert (found["b"].state, found["b"].result, found["b"].error) == ("completed", None, "its result was not taken")
    assert (found["c"].result, found["c"].error) == (None, "exit code 1")


def test_what_is_settled_and_what_is_claimed_is_one_commit(desk: Any) -> None:
    """A turn that records one and claims the next is one revision: nobody sees it half done."""
    desk.add("a", "b")
    lease = desk.take("a")
    before = desk.store.reader.revision()[0]
    turn = desk.turn(ended=[EndedAttempt(lease, Exited(0), Ending(desk.now))], want=1)
    assert [each.job_id for each in turn.leases] == ["b"]
    assert desk.store.reader.revision()[0] == before + 1


def test_a_long_attempts_start_and_pid_are_recorded(desk: Any) -> None:
    """An attempt that runs on has its pid in the history, and its true start there and on the job."""
    desk.add("a")
    lease = desk.take("a")
    desk.turn(started=[StartedAttempt(lease, 77, desk.now + 0.5)])
    (attempt,) = desk.store.reader.attempts("a")
    assert (attempt.pid, attempt.started_at) == (77, desk.now + 0.5)
    assert desk.store.jobs.get("a").started_at == desk.now + 0.5
    desk.end(lease, Lost("worker-1"), started_at=None, pid=None)
    (attempt,) = desk.store.reader.attempts("a")
    assert (attempt.pid, attempt.started_at) == (77, desk.now + 0.5)
    assert desk.store.jobs.get("a").started_at == desk.now + 0.5


def test_a_worker_counts_what_it_has_done(desk: Any) -> None:
    """``jobs_done`` counts recorded endings; what came too late does not count."""
    desk.store.workers.register(lambda _: True, pool=1, host="h", queues=(), now=desk.now)
    desk.add("a", "b")
    first, second = desk.claim(1) + desk.claim(1)
    desk.end(first)
    desk.end(first)
    desk.end(second, Exited(1))
    assert [row.jobs_done for row in desk.store.workers.rows()] == [2]


def _lose(desk: Any) -> tuple[Any, str]:
    """Claim a job, lose it to a rescuer and let another worker claim it; return the first lease and what is stored."""
    desk.add("a")
    lease = desk.take("a")
    desk.end(lease, Lost("worker-1"))
    desk.now += 10
    desk.take("a", "worker-2")
    return lease, "\n".join(desk.dump())


@pytest.mark.parametrize("outcome", [row[0] for row in ENDINGS] + [Returned()])
def test_a_late_result_changes_nothing(desk: Any, outcome: Outcome) -> None:
    """Whatever a worker brings after its lease was lost, not a row changes, and it is told so."""
    lease, before = _lose(desk)
    assert desk.end(lease, outcome, stdout="late", result="1") is None
    assert "\n".join(desk.dump()) == before


def test_a_late_result_after_the_end_changes_nothing(desk: Any) -> None:
    """A result for an attempt that somebody else has settled, the job being at rest, changes nothing."""
    desk.add("a")
    lease = desk.take("a")
    desk.end(lease)
    before = desk.dump()
    assert desk.end(lease, Exited(1)) is None
    desk.turn(back=[lease])
    assert desk.dump() == before


def test_a_late_give_back_or_start_changes_nothing(desk: Any) -> None:
    """Neither giving back nor recording the start of an attempt that is not ours any more changes a row."""
    lease, before = _lose(desk)
    desk.turn(back=[lease], started=[StartedAttempt(lease, 1, 1.0)])
    desk.turn(back=[HeldLease(lease.seq, lease.job_id, lease.number, lease.token)])
    assert "\n".join(desk.dump()) == before
