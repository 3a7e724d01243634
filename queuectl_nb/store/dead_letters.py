"""The dead letter queue as a whole: retried or purged in small transactions.

Named ids are all or none, in one transaction. The whole queue is processed in batches, so that workers and other
writers are not held up by a hundred thousand jobs; each job is moved completely or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.state import State
from queuectl_nb.store.dependencies import unmet_dependencies
from queuectl_nb.store.jobs import JobRef, check_dependencies, delete_jobs, load_jobs, retry_jobs
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from queuectl_nb.store.connection import Database

__all__ = ["purge_all", "retry_all"]

BATCH_JOBS = 1000
"""Jobs per transaction: about ten milliseconds."""


def retry_all(db: Database, now: float) -> Iterator[list[str]]:
    """Requeue every dead job with a full retry budget; yield the ids of each transaction, the longest dead first.

    A job with unmet dependencies becomes blocked. Raises :class:`WrongState`, before anything is changed, if a
    job depends on a cancelled one.
    """
    with db.read() as connection:
        dead = connection.execute(Q.dead_jobs).fetchall()
        dependent = sorted((seq, job_id) for seq, job_id, has_dependencies in dead if has_dependencies)
        for seq, job_id in dependent:
            # dead dependencies are retried as well
            check_dependencies(job_id, unmet_dependencies(connection, seq), [State.CANCELLED])
    batches = [*_batches([job_id for _, job_id, has_dependencies in dead if not has_dependencies])]
    if dependent:  # last and together, in enqueue order: by then none of their dependencies is dead
        batches.append([job_id for _, job_id in dependent])
    for ids in batches:
        with db.write() as connection:
            found = _load_dead(connection, ids)
            retry_jobs(connection, found, now)
        yield [job.id for job in found]


def purge_all(db: Database, now: float) -> Iterator[tuple[list[str], list[str]]]:
    """Delete every dead job with its history; yield ids and tokens of the attempts of each transaction."""
    for ids in _batches([job_id for _, job_id, _ in db.query(Q.dead_jobs)]):
        with db.write() as connection:
            found = _load_dead(connection, ids)
            tokens = delete_jobs(connection, found, now)
        yield [job.id for job in found], tokens


def _load_dead(connection: sqlite3.Connection, ids: Sequence[str]) -> list[JobRef]:
    """Return the jobs that are still dead."""
    return [job for job in load_jobs(connection, ids).values() if job.state is State.DEAD]


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), BATCH_JOBS):
        yield ids[start : start + BATCH_JOBS]
