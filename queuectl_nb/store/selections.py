"""Changes to all jobs of a filter, in small transactions.

Named jobs are changed in one transaction, all or none. The jobs of a filter are changed in batches, so that workers
and other writers are not held up by a hundred thousand jobs; each job is changed completely or not at all, and jobs in
a state that does not allow the action are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.model.state import ALLOWED_STATES, State
from queuectl_nb.store.dependencies import UNMEETABLE, unmet_dependencies
from queuectl_nb.store.edit import edit_jobs
from queuectl_nb.store.jobs import (
    CancelRequest,
    JobRef,
    cancel_jobs,
    check_dependencies,
    delete_jobs,
    load_jobs,
    retry_jobs,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from queuectl_nb.store.boot_time import BootTime
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.job_filter import Filter

__all__ = ["cancel_selected", "delete_selected", "edit_selected", "retry_selected", "select_jobs"]

BATCH_JOBS, EDITED_JOBS = 1000, 200
"""Jobs per transaction: about ten milliseconds."""


def select_jobs(db: Database, job_filter: Filter, action: str) -> list[JobRef]:
    """Return the jobs of a filter whose state allows ``action``, the least recently changed first."""
    allowed = [state for state in State if state in _allowed_states(job_filter, action)]
    if not allowed:
        return []
    condition, values = job_filter.in_states(allowed).condition()
    sql = f"SELECT seq, id, state, worker, after <> '[]' FROM jobs {condition} ORDER BY rev, seq"
    return [JobRef.from_row(row) for row in db.query(sql, values)]


def _allowed_states(job_filter: Filter, action: str) -> frozenset[State]:
    """Return the states in which jobs of a filter are changed; completed ones run again only if selected by state."""
    allowed = ALLOWED_STATES[action]
    if job_filter.state:
        return allowed.intersection(map(State, job_filter.state))
    return allowed - {State.COMPLETED} if action == "retry" else allowed


def retry_selected(db: Database, job_filter: Filter, now: float, action: str = "retry") -> Iterator[list[str]]:
    """Make the jobs of a filter run again now; yield the ids of each transaction.

    A job with unmet dependencies becomes blocked. Raises :class:`WrongState`, before anything is changed, if a job
    depends on a dead or cancelled one that is not in the selection.
    """
    chosen = select_jobs(db, job_filter, action)
    dependent = sorted(job for job in chosen if job.has_dependencies and job.state is not State.FAILED)
    if dependent:
        ids = {job.id for job in chosen}
        with db.read() as connection:
            for job in dependent:
                others = [other for other in unmet_dependencies(connection, job.seq) if other[0] not in ids]
                check_dependencies(job.id, others, UNMEETABLE)
    waiting = set(dependent)
    batches = [*_batches([job for job in chosen if job not in waiting])]
    if dependent:  # last and together, in enqueue order: by then none of their dependencies is dead or cancelled
        batches.append(dependent)
    for batch in batches:
        with db.write() as connection:
            jobs = _reload(connection, batch, job_filter, action)
            retry_jobs(connection, jobs, now)
        yield [job.id for job in jobs]


def cancel_selected(db: Database, job_filter: Filter, now: float) -> Iterator[tuple[list[str], list[CancelRequest]]]:
    """Cancel the jobs of a filter; yield the ids of each transaction, and the running ones with their workers."""
    for batch in _batches(select_jobs(db, job_filter, "cancel")):
        with db.write() as connection:
            jobs = _reload(connection, batch, job_filter, "cancel")
            running = cancel_jobs(connection, jobs, now)
        yield [job.id for job in jobs], running


def delete_selected(
    db: Database, job_filter: Filter, now: float, action: str = "delete"
) -> Iterator[tuple[list[str], list[str]]]:
    """Delete the jobs of a filter with their history; yield ids and tokens of the attempts of each transaction."""
    for batch in _batches(select_jobs(db, job_filter, action)):
        with db.write() as connection:
            jobs = _reload(connection, batch, job_filter, action)
            tokens = delete_jobs(connection, jobs, now)
        yield [job.id for job in jobs], tokens


def edit_selected(
    db: Database, job_filter: Filter, changes: Mapping[str, Any], now: float, boottime: BootTime, *, dry_run: bool
) -> Iterator[tuple[list[str], set[str]]]:
    """Change fields of the jobs of a filter; yield the ids of each transaction, and the workers of running ones."""
    for batch in _batches(select_jobs(db, job_filter, "edit"), EDITED_JOBS):
        yield edit_jobs(db, [job.id for job in batch], changes, now, boottime, selected=True, dry_run=dry_run)


def _reload(connection: sqlite3.Connection, batch: Sequence[JobRef], job_filter: Filter, action: str) -> list[JobRef]:
    """Return the jobs of a batch that still exist in a state for ``action``."""
    allowed = _allowed_states(job_filter, action)
    return [job for job in load_jobs(connection, [job.id for job in batch]).values() if job.state in allowed]


def _batches(jobs: Sequence[JobRef], size: int | None = None) -> Iterator[Sequence[JobRef]]:
    size = size or BATCH_JOBS
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]
