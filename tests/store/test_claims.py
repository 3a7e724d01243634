"""A worker's turn: the order of work, results fenced by their token, claims that are given back."""

from __future__ import annotations

import threading
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
from queuectl_nb.store.claims import Claims, Ended, Held

# ---------------------------------------------------------------------- order


def test_priority_goes_first_then_age(desk: Any) -> None:
    """Higher priority first, whatever the queue; among equals the older first."""
    desk.add("a")
    desk.add("b", priority=1, queue="x")
    desk.add("c", priority=-1)
    desk.add("d", priority=1)
    desk.add("e", queue="y")
    assert [lease.job_id for lease in desk.claim(9)] == ["b", "d", "a", "e", "c"]


def test_age_is_the_order_of_enqueue_also_after_a_wait(desk: Any) -> None:
    """A job that came back from a retry or a delay stands where its age puts it, not at the end."""
    desk.add("old")
    desk.add("slow", delay=1)
    desk.run("old", Exited(1))
    desk.add("new")
    desk.now += 5
    assert [lease.job_id for lease in desk.claim(9)] == ["old", "slow", "new"]


def test_a_worker_takes_from_its_queues_only(desk: Any) -> None:
    """A worker for some queues leaves the others alone; one for all takes from all."""
    desk.add("a", queue="x")
    desk.add("b", queue="y", priority=9)
    desk.add("c", queue="z")
    assert [lease.job_id for lease in desk.claim(9, queues=["x", "z"])] == ["a", "c"]
    assert [lease.job_id for lease in desk.claim(9)] == ["b"]


def test_a_paused_queue_starts_nothing(desk: Any) -> None:
    """What is paused is passed over, the rest goes on; pausing everything stops all; resuming lifts it."""
    desk.add("a", queue="x", priority=9)
    desk.add("b")
    jobs = desk.store.jobs
    jobs.pause("x", desk.now)
    desk.run("b")
    assert desk.claim(9) == []
    jobs.pause(None, desk.now)
    jobs.resume("x")
    assert desk.claim(9) == []
    jobs.resume(None)
    desk.take("a")


def test_a_job_goes_to_one_worker(desk: Any) -> None:
    """Eight threads that claim at once get each job once."""
    desk.enqueue(*({"command": "x"} for _ in range(200)))
    got: list[str] = []
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait()
        while leases := desk.claim(3, f"worker-{number}"):
            got.extend(lease.job_id for lease in leases)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(got) == len(set(got)) == 200


def test_the_last_jobs_are_shared_out(desk: Any) -> None:
    """With four workers registered nobody claims ahead what another could start: of eight waiting two at most."""
    for number in range(4):
        desk.store.workers.register(lambda _: True, pool=number, host="h", boot="b", queues=(), now=desk.now)
    desk.enqueue(*({"command": "x"} for _ in range(8)))
    assert [len(desk.claim(16)) for _ in range(9)] == [2, 1, 1, 1, 1, 1, 1, 0, 0]


def test_a_claim_is_an_attempt(desk: Any) -> None:
    """A claim is written before anything is started: state, attempts, worker, token, and a row of history."""
    desk.add("a", delay=10)
    desk.now += 15
    lease = desk.take("a")
    row = desk.row("a")
    assert (row["state"], row["attempts"], row["starts"], row["worker"]) == ("processing", 1, 1, "worker-1")
    assert (row["token"], row["started_at"], row["updated_at"]) == (lease.token, desk.now, desk.now)
    assert len(lease.token) == 32
    (attempt,) = desk.store.reading.attempts("a")
    assert (attempt.number, attempt.token, attempt.worker, attempt.host) == (1, lease.token, "worker-1", "here")
    assert (attempt.started_at, attempt.finished_at, attempt.outcome, attempt.pid) == (desk.now, None, None, None)
    assert desk.rows("SELECT due_at FROM attempts") == [(desk.now - 5,)]


def test_a_claim_forgets_the_attempt_before(desk: Any) -> None:
    """While a job runs, nothing of how its last attempt ended shows on it; the history has it."""
    desk.add("a")
    desk.run("a", Exited(3))
    desk.now += 5
    desk.take("a")
    job = desk.store.jobs.get("a")
    assert (job.attempts, job.exit_code, job.error, job.finished_at) == (2, None, None, None)
    assert [each.outcome for each in desk.store.reading.attempts("a")] == ["failed", None]


# ---------------------------------------------------------------------- settled

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
    job, (attempt,) = desk.store.jobs.get("a"), desk.store.reading.attempts("a")
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
    before = desk.store.reading.revision()[0]
    turn = desk.turn(ended=[Ended(lease, Exited(0), Ending(desk.now))], want=1)
    assert [each.job_id for each in turn.leases] == ["b"]
    assert desk.store.reading.revision()[0] == before + 1


def test_a_long_attempts_start_and_pid_are_recorded(desk: Any) -> None:
    """An attempt that runs on has its pid in the history, and its true start there and on the job."""
    desk.add("a")
    lease = desk.take("a")
    desk.turn(running=(lease, 77, desk.now + 0.5))
    (attempt,) = desk.store.reading.attempts("a")
    assert (attempt.pid, attempt.started_at) == (77, desk.now + 0.5)
    assert desk.store.jobs.get("a").started_at == desk.now + 0.5
    desk.end(lease, Lost("worker-1"), started_at=None, pid=None)
    (attempt,) = desk.store.reading.attempts("a")
    assert (attempt.pid, attempt.started_at) == (77, desk.now + 0.5)
    assert desk.store.jobs.get("a").started_at == desk.now + 0.5


def test_a_worker_counts_what_it_has_done(desk: Any) -> None:
    """``jobs_done`` counts recorded endings; what came too late does not count."""
    desk.store.workers.register(lambda _: True, pool=1, host="h", boot="b", queues=(), now=desk.now)
    desk.add("a", "b")
    first, second = desk.claim(1) + desk.claim(1)
    desk.end(first)
    desk.end(first)
    desk.end(second, Exited(1))
    assert [row.jobs_done for row in desk.store.workers.rows()] == [2]


# ---------------------------------------------------------------------- fenced


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
    desk.turn(back=[lease], running=(lease, 1, 1.0))
    desk.turn(back=[Held(lease.seq, lease.job_id, lease.number, lease.token)])
    assert "\n".join(desk.dump()) == before


# ---------------------------------------------------------------------- given back


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
    history = desk.store.reading.attempts("a")
    for _ in range(times):
        lease = desk.take("a", "worker-2")
        desk.now += 1
        desk.turn(back=[lease])
    assert {key: value for key, value in desk.row("a").items() if key not in aside} == before
    assert desk.store.reading.attempts("a") == history
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
        assert [each.outcome for each in desk.store.reading.attempts("a")] == ["returned"] * number
    assert desk.store.reading.attempts("a")[-1].error == "given back: its worker was stopped"


def test_numbers_go_on_over_budgets(desk: Any) -> None:
    """A fresh budget begins at attempt 1 of 3, while the history is numbered on."""
    desk.add("a")
    desk.kill("a")
    desk.store.jobs.retry(["a"], desk.now, "dlq retry")
    lease = desk.take("a")
    assert (lease.number, lease.attempts) == (4, 1)
    assert [each.number for each in desk.store.reading.attempts("a")] == [1, 2, 3, 4]


# ---------------------------------------------------------------------- looks


def test_what_must_not_start_any_more_is_told(desk: Any) -> None:
    """Of what is unstarted: the cancelled, the lost, those of a queue paused since; all where a better job came in."""
    desk.add("a", "b", "c")
    desk.add("d", queue="x")
    leases = desk.claim(4)
    claims = Claims(desk.store.db, "worker-1", "here")
    assert claims.unwelcome(leases) == []
    desk.store.jobs.cancel(["a"], desk.now)
    desk.end(leases[1], Lost("worker-1"))
    desk.store.jobs.pause("x", desk.now)
    assert [lease.job_id for lease in claims.unwelcome(leases)] == ["a", "b", "d"]
    assert claims.cancels() == {leases[0].token}
    desk.add("better", priority=1)
    assert claims.unwelcome(leases) == leases
    desk.turn(back=[leases[0], leases[2], leases[3]])


def test_whether_a_claim_would_find_anything(desk: Any) -> None:
    """The look that saves an idle worker a write: ready or due now, in its queues, not paused."""
    claims = Claims(desk.store.db, "worker-1", "here", ["x"])
    assert not claims.anything_ready(desk.now)
    desk.add("other")
    assert not claims.anything_ready(desk.now)
    desk.add("a", queue="x", delay=10)
    assert not claims.anything_ready(desk.now)
    assert claims.next_due() == desk.now + 10
    assert claims.anything_ready(desk.now + 10)
    desk.now += 10
    desk.claim(1, queues=["y"])
    assert claims.anything_ready(desk.now)
    assert claims.next_due() is None
    desk.store.jobs.pause("x", desk.now)
    assert not claims.anything_ready(desk.now)


def test_what_a_draining_worker_waits_for(desk: Any) -> None:
    """Every open job of its queues counts, delayed, blocked and failed ones too; of paused queues only running ones."""
    claims = Claims(desk.store.db, "worker-1", "here", ["x", "y"])
    desk.add("a", "b", queue="x")
    desk.add("c", queue="x", delay=1000)
    desk.add("d", queue="y", after=["a"])
    desk.add("other", queue="z", priority=-9)
    assert claims.open_jobs() == 4
    assert Claims(desk.store.db, "w", "here").open_jobs() == 5
    lease = desk.take("a")
    desk.store.jobs.pause("x", desk.now)
    assert claims.open_jobs() == 2
    desk.store.jobs.pause(None, desk.now)
    assert claims.open_jobs() == 1
    desk.end(lease)
    assert claims.open_jobs() == 0


def test_what_a_worker_holds(desk: Any) -> None:
    """Whoever settles in a lost worker's place learns what it held, and nothing of others'."""
    desk.add("a", "b")
    mine, theirs = desk.take("a", "worker-1"), desk.take("b", "worker-2")
    assert Claims(desk.store.db, "worker-1", "").held() == [Held(mine.seq, "a", 1, mine.token)]
    assert desk.store.workers.current_jobs() == {"worker-1": "a", "worker-2": "b"}
    desk.end(theirs)
    assert Claims(desk.store.db, "worker-2", "").held() == []
