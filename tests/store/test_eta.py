"""The rows that an estimate of the remaining time is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.outcome import Cancelled, Exited
from queuectl_nb.store import eta
from queuectl_nb.store.boot_time import BootTime, read_boot_time
from queuectl_nb.store.claims import StartedAttempt
from queuectl_nb.store.eta import RECENT_ATTEMPTS, SAMPLED_JOBS, EtaRows, QueuedJob, read_attempts_near, read_eta_rows
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


def read(harness: StoreHarness, **fields: Any) -> EtaRows:
    """Return the rows for the jobs that a filter selects, or for all jobs."""
    return read_eta_rows(harness.store.db, Filter(**fields) if fields else None, harness.now)


def by_id(rows: EtaRows) -> dict[str, QueuedJob]:
    """Return the waiting jobs by id."""
    return {job.id: job for job in rows.waiting}


def test_an_empty_queue(harness: StoreHarness) -> None:
    """Without unfinished jobs nothing is read, whatever has finished."""
    assert read(harness) == ([], [], [], set(), harness.now)
    harness.add("done")
    harness.run("done")
    assert read(harness) == ([], [], [], set(), harness.now)


def test_attempts_near_a_job(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the jobs enqueued shortly before and after any of the named ones are read once, the newest first."""
    monkeypatch.setattr(eta, "REACH", 2)
    for number in range(8):
        harness.add(f"{number}", command=f"run {number}")
    for number in range(8):
        lease = harness.claim_job(f"{number}")
        harness.now += 10
        harness.settle(lease, started_at=harness.now - 3)
    found = read_attempts_near(harness.store.db, ["4", "5", "none"])
    assert [attempt.command for attempt in found] == [f"run {number}" for number in (7, 6, 5, 4, 3, 2)]
    assert {(attempt.kind, attempt.finished_at - attempt.started_at) for attempt in found} == {("command", 3)}


def test_recent_attempts(harness: StoreHarness) -> None:
    """Attempts that ended by themselves are read, the newest first: their times, and whether they failed."""
    harness.add("a", "b", command="run", max_retries=2)
    for name, outcome in [("a", Exited(1)), ("b", Exited(0)), ("a", Exited(0))]:
        lease = harness.claim_job(name)
        harness.now += 1000
        harness.settle(lease, outcome, started_at=harness.now - 10)
    harness.add("cancelled", "waiting")
    harness.run("cancelled", Cancelled())
    now, run = harness.now, ("command", "run")
    assert read(harness).attempts == [
        (*run, now - 10, now, 0, 0, 10, "worker-1"),
        (*run, now - 1010, now - 1000, 0, 1, None, "worker-1"),
        (*run, now - 2010, now - 2000, 1, 1, None, "worker-1"),
    ]


def test_running_jobs(harness: StoreHarness) -> None:
    """A running job has its facts and its start; it is selected as the filter says."""
    harness.add("a", "b", command="run", queue="gpu", max_retries=4, timeout=60)
    leases = harness.claim(2)
    harness.settle_and_claim(started=[StartedAttempt(lease, 42, harness.now + 1) for lease in leases], limit=0)
    job = ("command", "run", "gpu", 1, 4, 60, 1, None, harness.now + 1, "worker-1")
    filters: list[tuple[dict[str, Any], str]] = [({}, "ab"), ({"ids": ("b", "nobody")}, "b"), ({"queue": "other"}, "")]
    for fields, selected in filters:
        rows = read(harness, **fields)
        assert rows.claimed == [(lease.job_id, *job, lease.token, lease.job_id in selected) for lease in leases]
        assert rows.waiting == []


def test_waiting_jobs(harness: StoreHarness) -> None:
    """A waiting job has its facts, how long it is not due, and the jobs that it waits for while it is blocked."""
    harness.add("first", command="run", queue="gpu", priority=7, max_retries=2, tags=["x"])
    harness.add("later", delay=60, after_any=["first"])
    harness.add("late", delay=60)
    facts = ("command", "run", "gpu", 7, 0, 2, None)
    found = by_id(read(harness))
    assert list(found) == ["first", "later", "late"]
    assert found["first"] == (1, "first", *facts, 0, False, (), True, 1)
    assert (found["later"].blocked, found["later"].after, found["later"].due_s) == (True, ("first",), 60)
    assert (found["late"].blocked, found["late"].after, found["late"].due_s) == (False, (), 60)
    harness.run("first", Exited(1))
    harness.now += 1.5
    found = by_id(read(harness))
    assert (found["first"].attempts, found["first"].due_s) == (1, 0.5)
    assert found["first"].before_s is not None
    harness.now += 100
    assert {job.due_s for job in read(harness).waiting} == {0}


def test_due_by_the_clock_since_the_boot(harness: StoreHarness) -> None:
    """A delay counts by the monotonic clock where that is known, whatever the wall clock says."""
    boot = read_boot_time()
    if boot.seconds is None:
        pytest.skip("no clock since the boot")
    harness.boottime = BootTime(boot.boot, boot.seconds)
    harness.add("a", delay=3600)
    harness.now += 86_400
    (job,) = read(harness).waiting
    assert job.due_s == pytest.approx(3600, abs=60)


@pytest.mark.parametrize(
    ("fields", "selected"),
    [
        ({"ids": ("b", "nobody")}, "b"),
        ({"queue": "gpu"}, "ab"),
        ({"queue": "gpu", "tag": "x"}, "a"),
        ({"state": ("failed",)}, "c"),
        ({"state": ("completed",)}, ""),
        ({"state": ("pending", "dead")}, "ab"),
        ({"search": "train"}, "b"),
    ],
)
def test_selected_jobs(harness: StoreHarness, fields: dict[str, Any], selected: str) -> None:
    """The jobs that the filter selects are marked; the others count as well, since they use the same workers."""
    harness.add("c")
    harness.run("c", Exited(1))
    harness.add("a", queue="gpu", tags=["x"])
    harness.add("b", queue="gpu", command="train")
    found = by_id(read(harness, **fields))
    assert {name: job.selected for name, job in found.items()} == {name: name in selected for name in "abc"}
    assert {job.weight for job in found.values()} == {1}


def test_samples(harness: StoreHarness) -> None:
    """Of many waiting jobs a sample is read, and each stands for as many as were left out."""
    count = 4 * SAMPLED_JOBS
    harness.enqueue(*({"id": f"{number}", "command": "x", "queue": "ab"[number % 2]} for number in range(count)))
    ids = tuple(map(str, range(count - 100)))
    filters: list[tuple[dict[str, Any], float]] = [
        ({}, count),
        ({"queue": "a"}, count / 2),
        ({"ids": ids}, count - 100),
    ]
    for fields, selected in filters:
        rows = read(harness, **fields)
        assert len(rows.waiting) <= 2.5 * SAMPLED_JOBS
        chosen = [job for job in rows.waiting if job.selected]
        assert SAMPLED_JOBS / 2 <= len(chosen) <= 1.5 * SAMPLED_JOBS
        assert sum(job.weight for job in chosen) == pytest.approx(selected, rel=0.01)
        assert len({job.weight for job in chosen}) == 1


def test_sample_of_many_is_not_a_scan(harness: StoreHarness) -> None:
    """Where most jobs wait, only as many rows as needed are read; where few do, those that wait are searched."""
    count, seen = 8 * SAMPLED_JOBS, list[str]()
    harness.enqueue(*({"id": f"{number}", "command": "x"} for number in range(count)))
    harness.store.db.connection().set_trace_callback(seen.append)
    assert SAMPLED_JOBS * 0.9 <= len(read(harness).waiting) <= SAMPLED_JOBS
    assert not any("INDEXED BY" in sql for sql in seen)
    with harness.store.db.write() as connection:
        connection.execute("UPDATE jobs SET state = 'completed', ready = 0 WHERE seq <= ?", (count - 2 * SAMPLED_JOBS,))
    assert SAMPLED_JOBS / 2 <= len(read(harness).waiting) <= 1.5 * SAMPLED_JOBS
    assert any("INDEXED BY" in sql for sql in seen)


def test_history_is_bounded(harness: StoreHarness) -> None:
    """However many attempts have ended, the newest few hundred are read."""
    harness.enqueue(*({"command": "x"} for _ in range(RECENT_ATTEMPTS + 5)))
    leases = harness.claim(RECENT_ATTEMPTS + 4)
    harness.settle_and_claim(ended=[harness.ended(lease) for lease in leases])
    assert len(read(harness).attempts) == RECENT_ATTEMPTS


def test_pools_of_dask(harness: StoreHarness) -> None:
    """Pools whose jobs run on a dask cluster are named by host and process id."""
    for pool, executor in [(7, "local"), (8, "dask")]:
        facts: dict[str, Any] = {"pool": pool, "host": "here", "queues": (), "now": harness.now}
        harness.store.workers.register(lambda _: True, executor=executor, **facts)
    assert read(harness).dask_pools == {("here", 8)}
