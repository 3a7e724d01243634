"""A queue against its reference model: both agree after any sequence of actions of people and workers."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from queuectl_nb.model.attempt import Lease
from queuectl_nb.model.errors import NotFound, WrongState
from queuectl_nb.model.outcome import Cancelled, Exited, Lost, Outcome, Returned
from queuectl_nb.store.store import Store

from .conftest import StoreHarness
from .reference_model import Model

FINISHED = {"completed", "dead", "cancelled"}
QUEUES = ["default", "gpu"]
OUTCOMES = st.sampled_from([Exited(0), Exited(0), Exited(1), Exited(1), Lost("w"), Returned(), Cancelled()])
SPECS = st.fixed_dictionaries(
    {
        "priority": st.integers(-1, 1),
        "queue": st.sampled_from(QUEUES),
        "max_retries": st.integers(1, 3),
        "delay": st.sampled_from([0, 0, 0, 3]),
        "after": st.lists(st.integers(1, 4), max_size=2) | st.just([]),
    }
)


class Machine(RuleBasedStateMachine):
    """People and workers using one queue."""

    template: Path
    ids = Bundle("ids")
    leases = Bundle("leases")

    def __init__(self) -> None:
        """Create an empty queue."""
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copyfile(self.template, self.folder / "q.db")
        self.harness = StoreHarness(Store(self.folder / "q.db"))
        self.harness.store.db.connection().execute("PRAGMA synchronous = OFF")
        self.model = Model()
        self.made = 0

    def teardown(self) -> None:
        """Check the invariants, and delete the file."""
        self.harness.check_invariants()
        self.harness.store.db.close()
        shutil.rmtree(self.folder)

    @initialize(target=ids, specs=st.lists(SPECS, min_size=4, max_size=8))
    def begin(self, specs: list[dict[str, Any]]) -> stateful.MultipleResults[str]:
        """Add some jobs to act on."""
        return multiple(*map(self._enqueue, specs))

    @rule(target=ids, spec=SPECS)
    def enqueue(self, spec: dict[str, Any]) -> str:
        """Add a job."""
        return self._enqueue(spec)

    def _enqueue(self, spec: dict[str, Any]) -> str:
        """Add a job after some earlier ones; a deleted dependency refuses it."""
        self.made += 1
        job_id = f"j{self.made}"
        after = list(dict.fromkeys(f"j{self.made - back}" for back in spec["after"] if back < self.made))
        spec = {**spec, "after": after}
        if all(other in self.model.jobs for other in after):
            self.harness.add(job_id, **spec)
            due = self.harness.now + spec["delay"]
            facts = {"priority": spec["priority"], "queue": spec["queue"], "budget": spec["max_retries"]}
            self.model.add(job_id, **facts, due=due, after=after)
        else:
            with pytest.raises(NotFound):
                self.harness.add(job_id, **spec)
        return job_id

    def _verb(self, call: Any, job_id: str, takes: set[str]) -> bool:
        """Call a verb in a state that it does not accept and check the error; return True if the state is accepted."""
        job = self.model.jobs.get(job_id)
        if job is None:
            with pytest.raises(NotFound):
                call([job_id], self.harness.now)
        elif job.state not in takes:
            with pytest.raises(WrongState):
                call([job_id], self.harness.now)
        else:
            return True
        return False

    @rule(job_id=ids)
    def retry(self, job_id: str) -> None:
        """Retry a job."""
        if not self._verb(self.harness.store.jobs.retry, job_id, FINISHED | {"failed"}):
            return
        job = self.model.jobs[job_id]
        state = "pending" if job.state == "failed" else self.model.initial_state(job)
        if state == "cancelled":
            with pytest.raises(WrongState):
                self.harness.store.jobs.retry([job_id], self.harness.now)
            return
        self.harness.store.jobs.retry([job_id], self.harness.now)
        job.used = job.used if job.state == "failed" else 0
        job.state, job.due = state, self.harness.now

    @rule(job_id=ids)
    def cancel(self, job_id: str) -> None:
        """Cancel a job."""
        if self._verb(self.harness.store.jobs.cancel, job_id, {"pending", "processing", "failed", "blocked"}):
            self.harness.store.jobs.cancel([job_id], self.harness.now)
            if self.model.jobs[job_id].state == "processing":
                self.model.jobs[job_id].cancel = True
            else:
                self.model.finish(job_id, self.harness.now, "cancelled")

    @precondition(lambda self: len(self.model.jobs) > 4)
    @rule(job_id=ids)
    def delete(self, job_id: str) -> None:
        """Delete a job."""
        if self._verb(self.harness.store.jobs.delete, job_id, FINISHED | {"pending", "failed", "blocked"}):
            self.harness.store.jobs.delete([job_id], self.harness.now)
            if self.model.jobs[job_id].state != "completed":
                self.model.finish(job_id, self.harness.now)
            del self.model.jobs[job_id]

    @precondition(lambda self: len(self.model.jobs) > 8)
    @rule(age=st.sampled_from([5, 20]))
    def prune(self, age: int) -> None:
        """Prune finished jobs of the given age."""
        old = {
            job_id
            for job_id, updated in self.harness.query("SELECT id, updated_at FROM jobs")
            if self.model.jobs[job_id].state in FINISHED and updated <= self.harness.now - age
        }
        for job in self.model.jobs.values():
            if job.state not in FINISHED:
                old.difference_update(job.after)
        assert self.harness.prune(age)[0] == len(old)
        for job_id in old:
            del self.model.jobs[job_id]

    @rule(queue=st.sampled_from([*QUEUES, None]), resume=st.sampled_from([True, True, False]))
    def pause_or_resume(self, queue: str | None, resume: object) -> None:
        """Pause or resume a queue, or all."""
        if not resume:
            self.harness.store.jobs.pause(queue, self.harness.now)
            self.model.paused.add(queue or "*")
        elif queue and "*" in self.model.paused and queue not in self.model.paused:
            with pytest.raises(WrongState):
                self.harness.store.jobs.resume(queue)
        else:
            self.harness.store.jobs.resume(queue)
            self.model.paused = self.model.paused - {queue} if queue else set()

    @rule(seconds=st.sampled_from([1, 2, 10]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.harness.now += seconds

    # ------------------------------------------------------------------ workers

    @rule(target=leases, worker=st.sampled_from(["worker-1", "worker-2"]), limit=st.integers(1, 3))
    def claim(self, worker: str, limit: int) -> list[Lease]:
        """Claim the first of the claimable jobs, in claim order."""
        wanted = self.model.claimable(self.harness.now)[:limit]
        leases = self.harness.claim(limit, worker)
        assert [lease.job_id for lease in leases] == wanted
        for lease in leases:
            job = self.model.jobs[lease.job_id]
            job.before, job.state, job.used, job.lease = job.state, "processing", job.used + 1, lease
            assert (lease.attempts, lease.number) == (job.used, len(job.history) + 1)
        return leases

    @rule(outcomes=st.lists(OUTCOMES, min_size=2, max_size=6), seconds=st.sampled_from([0, 3, 10]))
    def work(self, outcomes: list[Outcome], seconds: int) -> None:
        """Run some jobs, one after the other."""
        for outcome in outcomes:
            self.harness.now += seconds
            for lease in self.claim("worker-3", 1):
                self.settle([lease], outcome)

    @precondition(lambda self: any(job.lease for job in self.model.jobs.values()))
    @rule(leases=leases, outcome=OUTCOMES)
    def settle(self, leases: list[Lease], outcome: Outcome) -> None:
        """Settle attempts, also late: only the current lease is accepted."""
        for lease in leases:
            job = self.model.jobs.get(lease.job_id)
            accepted = job is not None and job.lease is not None and job.lease.token == lease.token
            assert (self.harness.settle(lease, outcome) is not None) == accepted
            if accepted:
                self.model.settle(lease.job_id, outcome, self.harness.now)

    @rule(leases=leases)
    def give_back(self, leases: list[Lease]) -> None:
        """Release claims that were not started."""
        self.harness.settle_and_claim(released=leases)
        for lease in leases:
            job = self.model.jobs.get(lease.job_id)
            if job is not None and job.lease is not None and job.lease.token == lease.token:
                job.state, job.used, job.lease = job.before, job.used - 1, None
                if job.cancel:
                    job.cancel = False
                    self.model.finish(lease.job_id, self.harness.now, "cancelled")

    @rule(limit=st.integers(1, 4), cancel=st.sampled_from([False, True]), first=st.sampled_from(["retry", "fail", ""]))
    def claim_and_give_back(self, limit: int, cancel: object, first: str) -> None:
        """Release claims at once, cancelled or not, of jobs that have just failed or been retried."""
        if first:
            for lease in self.claim("worker-4", 1):
                self.settle([lease], Exited(1))
                if first == "retry":
                    self.retry(lease.job_id)
                else:
                    self.harness.now += 3
        leases = self.claim("worker-4", limit)
        for lease in leases if cancel else []:
            self.cancel(lease.job_id)
        self.give_back(leases)

    @invariant()
    def queue_equals_model(self) -> None:
        """States, budgets, histories and counts are those of the model; claims are of open jobs."""
        found = {job_id: facts for job_id, *facts in self.harness.query("SELECT id, state, attempts, cancel FROM jobs")}
        assert found == {job_id: [job.state, job.used, int(job.cancel)] for job_id, job in self.model.jobs.items()}
        history: dict[str, list[str]] = {job_id: [] for job_id in self.model.jobs}
        for job_id, outcome in self.harness.query(
            "SELECT id, outcome FROM attempts JOIN jobs ON seq = job WHERE outcome IS NOT NULL ORDER BY job, number"
        ):
            history[job_id].append(outcome)
        assert history == {job_id: job.history for job_id, job in self.model.jobs.items()}
        counts: dict[str, int] = {}
        for job in self.model.jobs.values():
            counts[job.state] = counts.get(job.state, 0) + 1
        assert {str(state): n for state, n in self.harness.store.reader.counts().items() if n} == counts
        waiting = {job_id for job_id, job in self.model.jobs.items() if job.state in ("pending", "failed")}
        ready = {job_id for (job_id,) in self.harness.query("SELECT id FROM jobs WHERE ready = 1")}
        assert ready <= waiting
        assert {job_id for job_id in ready if self.model.jobs[job_id].due > self.harness.now} == set()


def test_queue_equals_model(template_path: Path) -> None:
    """In random sequences of actions, every answer and every state equals that of the model."""
    machine = type("ThisMachine", (Machine,), {"template": template_path})
    stateful.run_state_machine_as_test(machine, settings=settings(max_examples=100, stateful_step_count=50))
