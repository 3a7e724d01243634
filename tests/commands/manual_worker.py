"""A worker operated by the test: jobs get outcomes without processes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.outcome import Exited, Outcome
from queuectl_nb.store.claims import Claims, EndedAttempt

if TYPE_CHECKING:
    from queuectl_nb.client import Queue
    from queuectl_nb.model.attempt import Lease

__all__ = ["ManualWorker"]


@dataclass
class ManualWorker:
    """Does a worker's steps when the test calls them."""

    queue: Queue

    def add(self, *ids: str, **fields: Any) -> None:
        """Enqueue a job for each id."""
        enqueue_specs(self.queue, [JobSpec.from_fields({"command": "true", **fields, "id": each}) for each in ids])

    def claim(self, job_id: str) -> Lease:
        """Claim as ``worker-1``; this job must be the next."""
        claims = Claims(self.queue.store.db, "worker-1", "here")
        (lease,) = claims.settle_and_claim(limit=1, settings=self.queue.settings, now=time.time(), rand=0.0).leases
        assert lease.job_id == job_id
        return lease

    def run(self, job_id: str, outcome: Outcome | None = None, **facts: Any) -> None:
        """Claim this job and record its outcome, by default exit code 0."""
        now = time.time()
        usage = Usage(0.25, 0.125, 1024 * 1024)
        ending = Ending(finished_at=now + 0.5, started_at=now, pid=42, usage=usage, **facts)
        claims = Claims(self.queue.store.db, "worker-1", "here")
        ended = EndedAttempt(self.claim(job_id), outcome or Exited(0), ending)
        claims.settle_and_claim(ended=[ended], settings=self.queue.settings, now=now, rand=0.0)

    def exhaust(self, job_id: str) -> None:
        """Let a job with one attempt fail, so that it is dead."""
        self.run(job_id, Exited(1), stderr="it broke\n", stderr_size=9)
