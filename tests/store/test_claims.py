"""Claims: their order, and the cheap checks that avoid a write transaction."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from queuectl_nb.model.outcome import (
    SUPERVISOR_DIED,
    Exited,
    Lost,
    Returned,
)
from queuectl_nb.store.claims import Claims, HeldLease
from tests.engine.harness import in_threads

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

# ---------------------------------------------------------------------- order


def test_claim_order(harness: StoreHarness) -> None:
    """Higher priorities come first, in any queue; among equals the oldest job."""
    harness.add("a")
    harness.add("b", priority=1, queue="x")
    harness.add("c", priority=-1)
    harness.add("d", priority=1)
    harness.add("e", queue="y")
    assert [lease.job_id for lease in harness.claim(9)] == ["b", "d", "a", "e", "c"]


def test_age_is_the_enqueue_order(harness: StoreHarness) -> None:
    """A job that was retried or delayed keeps its place in the enqueue order."""
    harness.add("old")
    harness.add("slow", delay=1)
    harness.run("old", Exited(1))
    harness.add("new")
    harness.now += 5
    assert [lease.job_id for lease in harness.claim(9)] == ["old", "slow", "new"]


def test_worker_queues(harness: StoreHarness) -> None:
    """A worker with queues claims from these only; one without claims from all."""
    harness.add("a", queue="x")
    harness.add("b", queue="y", priority=9)
    harness.add("c", queue="z")
    assert [lease.job_id for lease in harness.claim(9, queues=["x", "z"])] == ["a", "c"]
    assert [lease.job_id for lease in harness.claim(9)] == ["b"]


def test_paused_queues_are_skipped(harness: StoreHarness) -> None:
    """Jobs of paused queues are skipped; pausing all stops everything; resuming lifts it."""
    harness.add("a", queue="x", priority=9)
    harness.add("b")
    jobs = harness.store.jobs
    jobs.pause("x", harness.now)
    harness.run("b")
    assert harness.claim(9) == []
    jobs.pause(None, harness.now)
    jobs.resume("x")
    assert harness.claim(9) == []
    jobs.resume(None)
    harness.claim_job("a")


def test_concurrent_claims(harness: StoreHarness) -> None:
    """Eight threads that claim at once get each job once."""
    harness.enqueue(*({"command": "x"} for _ in range(200)))
    got: list[str] = []
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait()
        while leases := harness.claim(3, f"worker-{number}"):
            got.extend(lease.job_id for lease in leases)

    with in_threads(*(partial(work, number) for number in range(8))):
        pass
    assert len(got) == len(set(got)) == 200


def test_last_jobs_are_shared(harness: StoreHarness) -> None:
    """With four workers nobody claims ahead what others could start: of eight jobs at most two each."""
    for number in range(4):
        harness.store.workers.register(lambda _: True, pool=number, host="h", queues=(), now=harness.now)
    harness.enqueue(*({"command": "x"} for _ in range(8)))
    assert [len(harness.claim(16)) for _ in range(9)] == [2, 1, 1, 1, 1, 1, 1, 0, 0]


def test_last_jobs_of_many_workers(harness: StoreHarness) -> None:
    """With 64 workers up to four of the last jobs are claimed at once, if the worker asks for several."""
    harness.store.workers.register(lambda _: True, count=64, pool=1, host="h", queues=(), now=harness.now)
    harness.enqueue(*({"command": "x"} for _ in range(8)))
    assert [len(harness.claim(limit)) for limit in (1, 16, 16)] == [1, 4, 3]


def test_claim_records_an_attempt(harness: StoreHarness) -> None:
    """A claim commits state, attempts, worker, token and a history row before the job starts."""
    harness.add("a", delay=10)
    harness.now += 15
    lease = harness.claim_job("a")
    row = harness.row("a")
    assert (row["state"], row["attempts"], row["starts"], row["worker"]) == ("processing", 1, 1, "worker-1")
    assert (row["token"], row["started_at"], row["updated_at"]) == (lease.token, harness.now, harness.now)
    assert len(lease.token) == 32
    (attempt,) = harness.store.reader.attempts("a")
    assert (attempt.number, attempt.token, attempt.worker, attempt.host) == (1, lease.token, "worker-1", "here")
    assert (attempt.started_at, attempt.finished_at, attempt.outcome, attempt.pid) == (harness.now, None, None, None)
    assert harness.query("SELECT due_at FROM attempts") == [(harness.now - 5,)]


def test_claim_clears_the_last_outcome(harness: StoreHarness) -> None:
    """A running job shows nothing of its previous attempt; the history does."""
    harness.add("a")
    harness.run("a", Exited(3))
    harness.now += 5
    harness.claim_job("a")
    job = harness.store.jobs.get("a")
    assert (job.attempts, job.exit_code, job.error, job.finished_at) == (2, None, None, None)
    assert [each.outcome for each in harness.store.reader.attempts("a")] == ["failed", None]


# ---------------------------------------------------------------------- looks


def test_revoked_claims(harness: StoreHarness) -> None:
    """Cancelled, lost and paused claims are revoked before they start; all of them if a higher priority came in."""
    harness.add("a", "b", "c")
    harness.add("d", queue="x")
    leases = harness.claim(4)
    claims = Claims(harness.store.db, "worker-1", "here")
    assert claims.preempted(leases) == []
    harness.store.jobs.cancel(["a"], harness.now)
    harness.settle(leases[1], Lost("worker-1"))
    harness.store.jobs.pause("x", harness.now)
    assert [lease.job_id for lease in claims.preempted(leases)] == ["a", "b", "d"]
    assert claims.cancel_requests() == {leases[0].token}
    harness.add("better", priority=1)
    assert claims.preempted(leases) == leases
    harness.settle_and_claim(released=[leases[0], leases[2], leases[3]])


def test_has_claimable_jobs(harness: StoreHarness) -> None:
    """The check before a claim finds jobs that are ready or due, in the worker's queues and not paused."""
    claims = Claims(harness.store.db, "worker-1", "here", ["x"])
    assert not claims.find_work(harness.now)[0]
    harness.add("other")
    assert not claims.find_work(harness.now)[0]
    harness.add("a", queue="x", delay=10)
    assert not claims.find_work(harness.now)[0]
    assert claims.find_work(harness.now) == (False, (harness.now + 10, None))
    assert claims.find_work(harness.now + 10)[0]
    harness.now += 10
    harness.claim(1, queues=["y"])
    assert claims.find_work(harness.now) == (True, (None, None))
    harness.store.jobs.pause("x", harness.now)
    assert not claims.find_work(harness.now)[0]


def test_outcomes_of_earlier_attempts(harness: StoreHarness) -> None:
    """An outcome counts with its error only, and only if an attempt of this job has ended with it."""
    harness.add("a", "b", max_retries=5)
    harness.settle(harness.claim_job("a"), SUPERVISOR_DIED)
    (again, other) = harness.claim(2)
    claims = harness.claims()
    assert claims.has_ended_as(again, SUPERVISOR_DIED)
    assert not claims.has_ended_as(again, Returned("for another reason"))
    assert not claims.has_ended_as(other, SUPERVISOR_DIED)


def test_open_jobs_for_a_drain(harness: StoreHarness) -> None:
    """All open jobs of its queues count, delayed, blocked and failed ones too; of paused queues running ones only."""
    claims = Claims(harness.store.db, "worker-1", "here", ["x", "y"])
    harness.add("a", "b", queue="x")
    harness.add("c", queue="x", delay=1000)
    harness.add("d", queue="y", after=["a"])
    harness.add("other", queue="z", priority=-9)
    assert claims.count_unfinished() == 4
    assert Claims(harness.store.db, "w", "here").count_unfinished() == 5
    lease = harness.claim_job("a")
    harness.store.jobs.pause("x", harness.now)
    assert claims.count_unfinished() == 2
    harness.store.jobs.pause(None, harness.now)
    assert claims.count_unfinished() == 1
    harness.settle(lease)
    assert claims.count_unfinished() == 0


def test_claims_of_a_worker(harness: StoreHarness) -> None:
    """The claims of a lost worker are listed, and no others."""
    harness.add("a", "b")
    mine, theirs = harness.claim_job("a", "worker-1"), harness.claim_job("b", "worker-2")
    assert Claims(harness.store.db, "worker-1", "").held_leases() == [HeldLease(mine.seq, "a", 1, mine.token)]
    assert harness.store.workers.current_jobs() == {"worker-1": "a", "worker-2": "b"}
    harness.settle(theirs)
    assert Claims(harness.store.db, "worker-2", "").held_leases() == []


def test_leases_of_a_dead_worker_are_taken_over(harness: StoreHarness) -> None:
    """The valid ones are held by the new worker, with what their end needs; the others are left out."""
    harness.add("a", queue="gpu", priority=7, max_retries=4, timeout=60)
    harness.add("b", "c")
    first, settled, other = harness.claim(3, "dead")
    harness.settle(settled)
    claims = harness.claims("new")
    assert claims.take_over([first.token, settled.token, "f" * 32]) == [
        first._replace(command="", cwd="", env={}, recorded_env={}, shell=None)
    ]
    assert [lease.job_id for lease in claims.held_leases()] == ["a"]
    assert [lease.job_id for lease in harness.claims("dead").held_leases()] == ["c"]
    assert [claims.owns(each) for each in (first, settled, other)] == [True, False, True]
    assert not claims.owns(first._replace(token=other.token))
    harness.settle(first)
    assert harness.state("a") == "completed"


def test_a_drain_inside_a_job_does_not_wait_for_it(harness: StoreHarness) -> None:
    """The job that waits for the worker and its dependents do not count; paused ones did not count anyway."""
    harness.add("outer", queue="x")
    harness.add("after", queue="y", after=["outer"])
    harness.add("other", queue="x", priority=-1)
    harness.claim_job("outer")
    claims = harness.claims("inner")
    assert (claims.count_unfinished(), claims.count_unfinished("outer"), claims.count_unfinished("none")) == (3, 1, 3)
    assert Claims(harness.store.db, "inner", "here", ["x"]).count_unfinished("outer") == 1
    harness.store.jobs.pause("y", harness.now)
    assert (claims.count_unfinished(), claims.count_unfinished("outer")) == (2, 1)
    harness.store.jobs.pause(None, harness.now)
    assert (claims.count_unfinished(), claims.count_unfinished("outer")) == (1, 0)


def test_ready_and_due_jobs_are_counted(harness: StoreHarness) -> None:
    """Up to the limit; jobs that are due count, later ones do not; the first ready job of each queue is named."""
    harness.add("a", "b", "c", queue="x")
    harness.add("d", queue="y", priority=3)
    harness.add("e", queue="y")
    claims = harness.claims()
    assert [claims.count_ready(limit, harness.now) for limit in (1, 4, 9)] == [1, 4, 5]
    assert sorted(claims.first_ready()) == [1, 4]
    assert Claims(harness.store.db, "w", "here", ["y"]).first_ready() == [4]
    harness.add("soon", delay=10)
    assert [claims.count_ready(limit, harness.now + 10) for limit in (5, 9)] == [5, 6]
    assert claims.count_ready(9, harness.now + 9) == 5
    harness.store.jobs.pause(None, harness.now)
    assert (claims.first_ready(), claims.count_ready(9, harness.now)) == ([], 0)


def test_a_worker_counts_what_it_has_recorded(harness: StoreHarness) -> None:
    """Results that came too late do not count, and neither do claims that were undone."""
    harness.store.workers.register(lambda _: True, pool=1, host="here", queues=(), now=harness.now)
    harness.add("a", "b", "c")
    first, second, third = harness.claim(3)
    found = harness.settle_and_claim(ended=[harness.ended(first), harness.ended(second)], released=[third])
    assert len(found.settled) == 2
    assert harness.settle(first) is None
    assert harness.query("SELECT name, jobs_done FROM workers") == [("worker-1", 2)]
