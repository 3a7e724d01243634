"""A reference model of a queue in plain Python, without SQL, indexes or flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.outcome import Cancelled, Exited, Outcome, Returned

if TYPE_CHECKING:
    from queuectl_nb.model.attempt import Lease


@dataclass
class Job:
    """A job in the model."""

    place: int
    priority: int
    queue: str
    budget: int
    due: float
    after: list[str]
    state: str = "pending"
    used: int = 0
    history: list[str] = field(default_factory=list)
    lease: Lease | None = None
    before: str = "pending"
    cancel: bool = False


class Model:
    """The state of a queue and its rules; it has no clock."""

    def __init__(self) -> None:
        """Create an empty queue."""
        self.jobs: dict[str, Job] = {}
        self.paused: set[str] = set()
        self.places = 0

    def add(self, job_id: str, **facts: Any) -> None:
        """Add a job; with dependencies it is blocked, or cancelled if one of them cannot complete any more."""
        self.places += 1
        job = self.jobs[job_id] = Job(self.places, **facts)
        job.state = self.initial_state(job)

    def initial_state(self, job: Job) -> str:
        """Return the state of a job that is enqueued or retried."""
        others = [self.jobs[other].state for other in job.after if other in self.jobs]
        if any(state in ("dead", "cancelled") for state in others):
            return "cancelled"
        return "pending" if all(state == "completed" for state in others) else "blocked"

    def claimable(self, now: float) -> list[str]:
        """Return the ids of claimable jobs in claim order."""
        ready = [
            (-job.priority, job.place, job_id)
            for job_id, job in self.jobs.items()
            if job.state in ("pending", "failed") and job.due <= now and not {job.queue, "*"} & self.paused
        ]
        return [job_id for *_, job_id in sorted(ready)]

    def finish(self, job_id: str, now: float, state: str | None = None) -> None:
        """Move a job to a finished state (None: deleted) and update its dependents."""
        job = self.jobs[job_id]
        job.state = state or job.state
        for other_id, other in self.jobs.items():
            if other.state == "blocked" and job_id in other.after:
                if job.state != "completed":
                    self.finish(other_id, now, "cancelled")
                elif self.initial_state(other) == "pending":
                    other.state, other.due = "pending", max(other.due, now)

    def settle(self, job_id: str, outcome: Outcome, now: float) -> None:
        """Settle an attempt."""
        job = self.jobs[job_id]
        job.history.append(outcome.name)
        job.lease = None
        cancel, job.cancel = job.cancel, False
        if outcome == Exited(0):
            self.finish(job_id, now, "completed")
        elif cancel or isinstance(outcome, Cancelled):
            self.finish(job_id, now, "cancelled")
        elif isinstance(outcome, Returned):
            job.state, job.used, job.due = "pending", job.used - 1, now
        elif job.used >= job.budget:
            self.finish(job_id, now, "dead")
        else:
            job.state, job.due = "failed", now + 2**job.used
