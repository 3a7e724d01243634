"""The job that runs this process: a command inside a job must not wait for that very job."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["enclosing_job"]


def enclosing_job(db: Path) -> str | None:
    """Return the id of the job of the queue ``db`` that runs this process, or None."""
    job_id, queue = os.environ.get("QUEUECTL_JOB_ID"), os.environ.get("QUEUECTL_DB")
    if not job_id or not queue or os.path.realpath(queue) != os.path.realpath(db):
        return None
    return job_id
