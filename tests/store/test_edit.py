"""Jobs that have not finished can be edited, all or none; what changed is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import BadInput, NotFound, WrongState
from queuectl_nb.model.job import RUNNING_EDIT_FIELDS
from queuectl_nb.model.keys import WorkHash
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store.boot_time import BootTime
from queuectl_nb.store.checks import Checks
from queuectl_nb.store.edit import edit_jobs, read_edits

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

CHANGES: dict[str, Any] = {
    "command": "echo new",
    "priority": 7,
    "timeout": 60.0,
    "max_retries": 9,
    "queue": "gpu",
    "tags": ("x", "y"),
}


def _edit(harness: StoreHarness, *ids: str, **changes: Any) -> set[str]:
    return edit_jobs(harness.store.db, ids, changes, harness.now, harness.boottime)[1]


def _all_rows(harness: StoreHarness) -> list[Any]:
    return [harness.store.db.query(f"SELECT * FROM {table}") for table in ("jobs", "dependents", "edits")]


@pytest.mark.parametrize("job_id", ["pending", "failed", "blocked"])
def test_waiting_jobs_take_every_field(harness: StoreHarness, job_id: str) -> None:
    """Each field has the new value, the job keeps its state and its place, and the counts by queue are right."""
    harness.add_one_per_state()
    before = harness.store.jobs.get(job_id)
    assert _edit(harness, job_id, **CHANGES) == set()
    job = harness.store.jobs.get(job_id)
    assert {name: getattr(job, name) for name in CHANGES} == CHANGES
    assert (job.state, job.run_at, job.attempts) == (before.state, before.run_at, before.attempts)
    assert job.rev > before.rev
    assert Checks(harness.store.db).tally_mismatches() == []


@pytest.mark.parametrize("job_id", ["completed", "dead", "cancelled"])
def test_finished_jobs_are_refused(harness: StoreHarness, job_id: str) -> None:
    """A finished job is refused by name, and the others of the call are not changed."""
    harness.add_one_per_state()
    before = _all_rows(harness)
    with pytest.raises(WrongState, match=f"job {job_id} is {job_id}; 'edit' takes jobs that are pending"):
        _edit(harness, "pending", job_id, priority=1)
    assert _all_rows(harness) == before


def test_running_jobs_take_limits_and_priority(harness: StoreHarness) -> None:
    """Priority, timeout and max_retries of a running job change; the worker that runs it is returned."""
    harness.add_one_per_state()
    allowed = {name: CHANGES[name] for name in RUNNING_EDIT_FIELDS}
    assert _edit(harness, "processing", "pending", **allowed) == {"worker-1"}
    job = harness.store.jobs.get("processing")
    assert {name: getattr(job, name) for name in allowed} == allowed
    assert harness.row("processing")["ready"] == 0
    for name, value in {**CHANGES, "delay": 5.0, "run_at": 1.0, "after": ()}.items():
        if name not in allowed:
            with pytest.raises(WrongState, match=f"job processing is running; {name} can no longer be changed"):
                _edit(harness, "processing", **{name: value})


def test_worker_reads_the_new_timeout(harness: StoreHarness) -> None:
    """The worker of a running attempt gets the new timeout, and None once it has lost the attempt."""
    harness.add("a", timeout=5)
    lease = harness.claim_job("a")
    claims = harness.claims()
    assert claims.with_current_timeout(lease) is lease
    _edit(harness, "a", timeout=60.0)
    assert claims.with_current_timeout(lease) == lease._replace(timeout=60.0)
    harness.settle(lease)
    assert claims.with_current_timeout(lease) is None


def test_new_budget_of_a_running_attempt_counts_when_it_ends(harness: StoreHarness) -> None:
    """An attempt that was the last one is followed by another, and the other way round."""
    for before, after, state in ((1, 2, "failed"), (2, 1, "dead")):
        (job_id,) = harness.add(max_retries=before)
        lease = harness.claim_job(job_id)
        _edit(harness, job_id, max_retries=after)
        harness.settle(lease, Exited(1))
        assert harness.state(job_id) == state
        harness.store.jobs.delete([job_id], harness.now)


def test_used_attempts_are_not_taken_back(harness: StoreHarness) -> None:
    """A job that waits for its second attempt cannot have a budget of one."""
    harness.add("a")
    harness.run("a", Exited(1))
    with pytest.raises(WrongState, match="job a has used 1 attempts, too many for max_retries 1"):
        _edit(harness, "a", max_retries=1)
    _edit(harness, "a", max_retries=2)


def test_a_later_time(harness: StoreHarness) -> None:
    """A job that could start at once waits for the time that it is given."""
    harness.add("a")
    _edit(harness, "a", run_at=harness.now + 10)
    assert harness.claim() == []
    harness.now += 10
    harness.claim_job("a")


@pytest.mark.parametrize("boottime", [BootTime("", None), BootTime("boot", 100.0)], ids=["wall clock", "boot time"])
def test_delay_counts_from_the_edit(harness: StoreHarness, boottime: BootTime) -> None:
    """A job can be moved to a later time and to an earlier one; a failed one, too."""
    harness.boottime = boottime
    harness.add("a", delay=1000)
    harness.add("b")
    _edit(harness, "b", delay=50.0)
    assert harness.claim() == []
    _edit(harness, "a", delay=0.0)
    assert harness.store.jobs.get("a").run_at == harness.now
    lease = harness.claim_job("a")
    harness.settle(lease, Exited(1))
    _edit(harness, "a", run_at=harness.now - 1)
    harness.claim_job("a")
    harness.now += 50
    if boottime.seconds is not None:
        harness.boottime = BootTime("boot", 150.0)
    harness.claim_job("b")


def test_priority_and_queue_decide_the_next_claim(harness: StoreHarness) -> None:
    """The next claim sees the new order, and the job is found in its new queue only."""
    harness.add("a", "b", "c")
    _edit(harness, "b", priority=1)
    _edit(harness, "a", queue="gpu")
    assert [lease.job_id for lease in harness.claim(3, queues=["default"])] == ["b", "c"]
    assert [lease.job_id for lease in harness.claim(3, queues=["gpu"])] == ["a"]


def test_dependencies_are_replaced(harness: StoreHarness) -> None:
    """A job waits for the new ones, no longer for the old ones, and without any it can start."""
    harness.add("a", "b", "c")
    harness.add("d", after=["a"])
    _edit(harness, "d", after=("b",), after_any=("c",))
    assert harness.store.jobs.get("d").after == ("b", "c")
    assert harness.store.reader.any_end_of(harness.store.jobs.get("d")) == ["c"]
    harness.run("a")
    assert harness.state("d") == "blocked"
    harness.run("b")
    harness.exhaust("c")
    assert harness.state("d") == "pending"
    harness.add("e")
    _edit(harness, "d", after=("e",))
    assert (harness.state("d"), harness.claim_job("e").job_id) == ("blocked", "e")
    _edit(harness, "d", after=())
    harness.claim_job("d")


def test_failed_job_can_wait_for_another(harness: StoreHarness) -> None:
    """It becomes blocked with its attempts, and runs its next attempt after the other job."""
    harness.add("a")
    harness.run("a", Exited(1))
    harness.add("b")
    _edit(harness, "a", after=("b",))
    assert (harness.state("a"), harness.store.jobs.get("a").attempts) == ("blocked", 1)
    harness.run("b")
    harness.now += 10
    assert harness.claim_job("a").attempts == 2


def test_cycles_and_impossible_dependencies_are_refused(harness: StoreHarness) -> None:
    """A job never waits for itself, directly or not, for an unknown job, or for one that cannot complete."""
    harness.add("a", "dead")
    harness.add("b", after=["a"])
    harness.add("c", after_any=["b"])
    harness.store.jobs.cancel(["dead"], harness.now)
    before = _all_rows(harness)
    for field in ("after", "after_any"):
        for other in ("a", "b", "c"):
            with pytest.raises(BadInput, match=f"job a cannot wait for {other}, which would wait for a"):
                _edit(harness, "a", **{field: (other,)})
        with pytest.raises(NotFound, match="no job nope to wait for"):
            _edit(harness, "a", **{field: ("nope",)})
    with pytest.raises(WrongState, match="job a waits for dead, which is cancelled"):
        _edit(harness, "a", after=("dead",))
    with pytest.raises(BadInput, match="job a is in after and in after_any of job b"):
        _edit(harness, "b", after_any=("a",))
    assert _all_rows(harness) == before
    _edit(harness, "a", after_any=("dead",))
    assert harness.state("a") == "pending"


def test_command_of_python_jobs_stays(harness: StoreHarness) -> None:
    """Only jobs that run a command get another one."""
    harness.add("f")
    with harness.store.db.write() as connection:
        connection.execute("UPDATE jobs SET kind = 'function'")
    with pytest.raises(BadInput, match="job f is a function; only jobs that run a command"):
        _edit(harness, "f", command="echo")
    _edit(harness, "f", priority=1)


def test_key_follows_the_command(harness: StoreHarness) -> None:
    """A key made of the command is made again, unless other work has it; a given key stays and names the new work."""

    def work(command: str) -> str:
        return WorkHash("command", "/", {}).key(command)

    harness.add("made", "given", "other")
    with harness.store.db.write() as connection:
        for job_id, key in (("made", work("true")), ("given", "mine"), ("other", work("echo 2"))):
            values = (key, work("echo 2" if job_id == "other" else "true"), job_id)
            connection.execute("UPDATE jobs SET key = ?, work = ? WHERE id = ?", values)
    _edit(harness, "made", command="echo 1")
    _edit(harness, "given", command="echo 3")
    rows = {job_id: (harness.row(job_id)["key"], harness.row(job_id)["work"]) for job_id in ("made", "given")}
    assert rows == {"made": (work("echo 1"), work("echo 1")), "given": ("mine", work("echo 3"))}
    assert read_edits(harness.store.db, "made")[0]["changes"]["key"] == [work("true"), work("echo 1")]
    with pytest.raises(BadInput, match="job made would do the work of job other"):
        _edit(harness, "made", command="echo 2")


def test_edits_are_recorded(harness: StoreHarness) -> None:
    """Old and new value of each field that changed, in order; equal values are none; deleted with the job."""
    harness.add("a", tags=["old"])
    _edit(harness, "a", priority=3, tags=("new",))
    harness.now += 1
    _edit(harness, "a", priority=3, timeout=5.0)
    _edit(harness, "a", timeout=5.0)
    assert read_edits(harness.store.db, "a") == [
        {"at": harness.now - 1, "changes": {"priority": [0, 3], "tags": [["old"], ["new"]]}},
        {"at": harness.now, "changes": {"timeout": [None, 5.0]}},
    ]
    harness.store.jobs.delete(["a"], harness.now)
    assert harness.store.db.query("SELECT * FROM edits") == []


def test_unknown_job(harness: StoreHarness) -> None:
    """An unknown id is named, and nothing is changed."""
    harness.add("a")
    with pytest.raises(NotFound, match="no job b in"):
        _edit(harness, "a", "b", priority=1)
    assert harness.store.jobs.get("a").priority == 0
