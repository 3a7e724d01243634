"""The stored output of many jobs, read in chunks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.store.job_lists import JobOrder
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.job_filter import Filter

__all__ = ["StoredOutput", "iter_outputs"]

CHUNK_JOBS = 200
"""Jobs whose output is read in one transaction."""


class StoredOutput(NamedTuple):
    """The output of an attempt; a stream is None if it is not, or not completely, in the database."""

    job_id: str
    number: int
    streams: Mapping[str, str | bytes | None]


def iter_outputs(db: Database, job_filter: Filter, *, all_attempts: bool) -> Iterator[StoredOutput]:
    """Yield the output of the latest attempt, or of all attempts, of each job of a filter, in enqueue order."""
    seqs = sorted(JobOrder(db).read_order(job_filter))
    for start in range(0, len(seqs), CHUNK_JOBS):
        values = {"seqs": json.dumps(seqs[start : start + CHUNK_JOBS]), "all": all_attempts}
        for job_id, number, stdout, stderr in db.query(Q.outputs_of_jobs, values):
            yield StoredOutput(job_id, number, {"stdout": stdout, "stderr": stderr})
