"""Insert jobs and list them, without a harness."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import insert_jobs

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store

__all__ = ["add_job", "job_ids"]


def add_job(store: Store, job_id: str, command: str = "true") -> None:
    """Enqueue a job."""
    insert_jobs(store.db, [JobSpec(command, id=job_id)], cwd="/", recorded_env={}, now=time.time())


def job_ids(store: Store) -> list[str]:
    """Return the ids of all jobs, oldest first."""
    with store.db.read() as connection:
        return [job_id for (job_id,) in connection.execute("SELECT id FROM jobs ORDER BY seq")]
