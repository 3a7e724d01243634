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
        desk.store.workers.register(lambda _: True, pool=number, host="h", queues=(), now=desk.now)
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
    (attempt,) = desk.store.reader.attempts("a")
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
    assert [each.outcome for each in desk.store.reader.attempts("a")] == ["failed", None]


# ---------------------------------------------------------------------- looks


def test_what_must_not_start_any_more_is_told(desk: Any) -> None:
    """Of what is unstarted: the cancelled, the lost, those of a queue paused since; all where a better job came in."""
    desk.add("a", "b", "c")
    desk.add("d", queue="x")
    leases = desk.claim(4)
    claims = Claims(desk.store.db, "worker-1", "here")
    assert claims.preempted(leases) == []
    desk.store.jobs.cancel(["a"], desk.now)
    desk.end(leases[1], Lost("worker-1"))
    desk.store.jobs.pause("x", desk.now)
    assert [lease.job_id for lease in claims.preempted(leases)] == ["a", "b", "d"]
    assert claims.cancel_requests() == {leases[0].token}
    desk.add("better", priority=1)
    assert claims.preempted(leases) == leases
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
    assert Claims(desk.store.db, "worker-1", "").held() == [HeldLease(mine.seq, "a", 1, mine.token)]
    assert desk.store.workers.current_jobs() == {"worker-1": "a", "worker-2": "b"}
    desk.end(theirs)
    assert Claims(desk.store.db, "worker-2", "").held() == []
