"""A worker's turn: the order of work, and the looks that save it a turn."""

from __future__ import annotations

import threading
from typing import Any

from queuectl_nb.model.outcome import (
    Exited,
    Lost,
)
from queuectl_nb.store.claims import Claims, HeldLease

# ---------------------------------------------------------------------- order


def test_priority_goes_first_then_age(harness: Any) -> None:
    """Higher priority first, whatever the queue; among equals the older first."""
    harness.add("a")
    harness.add("b", priority=1, queue="x")
    harness.add("c", priority=-1)
    harness.add("d", priority=1)
    harness.add("e", queue="y")
    assert [lease.job_id for lease in harness.claim(9)] == ["b", "d", "a", "e", "c"]


def test_age_is_the_order_of_enqueue_also_after_a_wait(harness: Any) -> None:
    """A job that came back from a retry or a delay stands where its age puts it, not at the end."""
    harness.add("old")
    harness.add("slow", delay=1)
    harness.run("old", Exited(1))
    harness.add("new")
    harness.now += 5
    assert [lease.job_id for lease in harness.claim(9)] == ["old", "slow", "new"]


def test_a_worker_takes_from_its_queues_only(harness: Any) -> None:
    """A worker for some queues leaves the others alone; one for all takes from all."""
    harness.add("a", queue="x")
    harness.add("b", queue="y", priority=9)
    harness.add("c", queue="z")
    assert [lease.job_id for lease in harness.claim(9, queues=["x", "z"])] == ["a", "c"]
    assert [lease.job_id for lease in harness.claim(9)] == ["b"]


def test_a_paused_queue_starts_nothing(harness: Any) -> None:
    """What is paused is passed over, the rest goes on; pausing everything stops all; resuming lifts it."""
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


def test_a_job_goes_to_one_worker(harness: Any) -> None:
    """Eight threads that claim at once get each job once."""
    harness.enqueue(*({"command": "x"} for _ in range(200)))
    got: list[str] = []
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait()
        while leases := harness.claim(3, f"worker-{number}"):
            got.extend(lease.job_id for lease in leases)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(got) == len(set(got)) == 200


def test_the_last_jobs_are_shared_out(harness: Any) -> None:
    """With four workers registered nobody claims ahead what another could start: of eight waiting two at most."""
    for number in range(4):
        harness.store.workers.register(lambda _: True, pool=number, host="h", queues=(), now=harness.now)
    harness.enqueue(*({"command": "x"} for _ in range(8)))
    assert [len(harness.claim(16)) for _ in range(9)] == [2, 1, 1, 1, 1, 1, 1, 0, 0]


def test_a_claim_is_an_attempt(harness: Any) -> None:
    """A claim is written before anything is started: state, attempts, worker, token, and a row of history."""
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


def test_a_claim_forgets_the_attempt_before(harness: Any) -> None:
    """While a job runs, nothing of how its last attempt ended shows on it; the history has it."""
    harness.add("a")
    harness.run("a", Exited(3))
    harness.now += 5
    harness.claim_job("a")
    job = harness.store.jobs.get("a")
    assert (job.attempts, job.exit_code, job.error, job.finished_at) == (2, None, None, None)
    assert [each.outcome for each in harness.store.reader.attempts("a")] == ["failed", None]


# ---------------------------------------------------------------------- looks


def test_what_must_not_start_any_more_is_told(harness: Any) -> None:
    """Of what is unstarted: the cancelled, the lost, those of a queue paused since; all where a better job came in."""
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


def test_whether_a_claim_would_find_anything(harness: Any) -> None:
    """The look that saves an idle worker a write: ready or due now, in its queues, not paused."""
    claims = Claims(harness.store.db, "worker-1", "here", ["x"])
    assert not claims.has_ready_jobs(harness.now)
    harness.add("other")
    assert not claims.has_ready_jobs(harness.now)
    harness.add("a", queue="x", delay=10)
    assert not claims.has_ready_jobs(harness.now)
    assert claims.next_due() == harness.now + 10
    assert claims.has_ready_jobs(harness.now + 10)
    harness.now += 10
    harness.claim(1, queues=["y"])
    assert claims.has_ready_jobs(harness.now)
    assert claims.next_due() is None
    harness.store.jobs.pause("x", harness.now)
    assert not claims.has_ready_jobs(harness.now)


def test_what_a_draining_worker_waits_for(harness: Any) -> None:
    """Every open job of its queues counts, delayed, blocked and failed ones too; of paused queues only running ones."""
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


def test_what_a_worker_holds(harness: Any) -> None:
    """Whoever settles in a lost worker's place learns what it held, and nothing of others'."""
    harness.add("a", "b")
    mine, theirs = harness.claim_job("a", "worker-1"), harness.claim_job("b", "worker-2")
    assert Claims(harness.store.db, "worker-1", "").held_leases() == [HeldLease(mine.seq, "a", 1, mine.token)]
    assert harness.store.workers.current_jobs() == {"worker-1": "a", "worker-2": "b"}
    harness.settle(theirs)
    assert Claims(harness.store.db, "worker-2", "").held_leases() == []
