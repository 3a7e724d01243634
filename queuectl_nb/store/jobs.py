"""Operations on existing jobs: retry, cancel, delete, prune, pause. Several ids: all or none.

An operation takes a statement or two, however many jobs: with one statement a job, a hundred thousand jobs held the
write lock for four seconds.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.errors import BadEnvironment, BadInput, NotFound, WrongState
from queuectl_nb.model.state import FINISHED_STATES, State, check_action, check_transition
from queuectl_nb.store import rows
from queuectl_nb.store.dependencies import (
    UNMEETABLE,
    cancel_waiting,
    describe_missing,
    unblock_jobs,
    unmet_dependencies,
    update_dependents,
)
from queuectl_nb.store.maintenance import checkpoint
from queuectl_nb.store.queries import Q
from queuectl_nb.store.sqlite_errors import is_disk_full

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database

__all__ = [
    "CancelRequest",
    "JobRef",
    "Jobs",
    "cancel_jobs",
    "check_dependencies",
    "delete_jobs",
    "load_jobs",
    "not_found",
    "retry_jobs",
]

PRUNE_BATCH_JOBS = 500
"""Jobs removed per transaction, so that other writers never wait long."""


class JobRef(NamedTuple):
    """The facts about a job that operations need."""

    seq: int
    id: str
    state: State
    worker: str | None
    has_dependencies: bool
    """Whether it was enqueued with ``after``."""

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> JobRef:
        """Build it from seq, id, state, worker and whether there are dependencies."""
        seq, job_id, state, worker, has_dependencies = row
        return cls(seq, job_id, State(state), worker, bool(has_dependencies))


class CancelRequest(NamedTuple):
    """A job that is to be cancelled by the worker that runs it."""

    id: str
    worker: str | None


class Jobs:
    """The jobs of a queue."""

    def __init__(self, db: Database) -> None:
        """Work on ``db``."""
        self.db = db

    def get_finished(self, job_id: str) -> JobRecord | None:
        """Return a job that has finished; None if it has not, or does not exist."""
        found = self.db.query(Q.finished_job, {"id": job_id})
        return rows.job_from_row(found[0]) if found else None

    def get(self, job_id: str) -> JobRecord:
        """Return a job; raise :class:`NotFound` for an unknown id."""
        row = None
        if isinstance(job_id, str):
            with self.db.read() as connection, contextlib.suppress(UnicodeEncodeError):  # no job has such an id
                row = connection.execute(Q.job_by_id, {"id": job_id}).fetchone()
        if row is None:
            with self.db.read() as connection:
                raise not_found(connection, job_id)
        record = rows.job_from_row(row)
        if record.state is State.PROCESSING:
            from queuectl_nb.store.metrics import add_live

            (record,) = add_live(self.db, [record])
        return record

    def retry(self, ids: Sequence[str], now: float, action: str = "retry") -> None:
        """Make the jobs run again now; finished ones start with a full retry budget.

        A finished job with unmet dependencies becomes blocked. It is refused if it depends on a dead or cancelled job
        that is not retried in the same call. A failed job only skips its backoff.
        """
        with self.db.write() as connection:
            retry_jobs(connection, _load_all(connection, ids, action), now)

    def cancel(self, ids: Sequence[str], now: float, *, waiting_only: bool = False) -> list[CancelRequest]:
        """Cancel the jobs: waiting ones at once, running ones by a request to their worker.

        Return the running ones. With ``waiting_only`` these are refused with :class:`WrongState`.
        """
        with self.db.write() as connection:
            jobs = _load_all(connection, ids, "cancel")
            running = next((job.id for job in jobs if job.state is State.PROCESSING), None)
            if running is not None and waiting_only:
                raise WrongState(f"job {running} is running")
            return cancel_jobs(connection, jobs, now)

    def check(self, ids: Sequence[str], action: str) -> None:
        """Raise :class:`NotFound` or :class:`WrongState` unless all jobs exist and allow ``action``."""
        with self.db.read() as connection:
            _load_all(connection, ids, action)

    def delete(self, ids: Sequence[str], now: float, action: str = "delete") -> list[str]:
        """Delete the jobs with their history; return the tokens of their attempts, whose spool files can go."""
        with self.db.write() as connection:
            return delete_jobs(connection, _load_all(connection, ids, action), now)

    def prune(self, older_than: float, now: float, state: str | None = None) -> Iterator[tuple[int, list[str]]]:
        """Delete finished jobs unchanged for ``older_than`` seconds, in small transactions.

        Jobs on which unfinished ones depend stay.

        Yield for each transaction how many were deleted, and the tokens of their attempts.
        """
        size, failed_at = PRUNE_BATCH_JOBS, 0
        for each in _pruned_states(state):
            while True:
                try:
                    found, old, tokens = self._prune_batch(each, size, now - older_than)
                except BadEnvironment as error:
                    if failed_at == 1 or not is_disk_full(error):
                        raise
                    failed_at, size = size, max(1, size // 5)
                    checkpoint(self.db)  # then the log, which needs disk space first, is used from its start
                    continue
                failed_at = 0
                yield old, tokens
                if not old or found < size:
                    break

    def count_old(self, older_than: float, now: float, state: str | None = None) -> int:
        """Return how many jobs :meth:`prune` would delete."""
        states = _pruned_states(state)
        return sum(self.db.query(Q.count_old, {"state": each, "before": now - older_than})[0][0] for each in states)

    def _prune_batch(self, state: str, size: int, before: float) -> tuple[int, int, list[str]]:
        """Delete the oldest of up to ``size`` jobs; return how many were found, how many deleted, and their tokens."""
        with self.db.write() as connection:
            batch = connection.execute(Q.oldest_finished, {"state": state, "limit": size}).fetchall()
            old = [seq for seq, updated in batch if updated <= before]
            seqs = {"seqs": json.dumps(old)}
            tokens = [token for (token,) in connection.execute(Q.tokens_of_jobs, seqs)]
            connection.execute(Q.delete_jobs, seqs)
        return len(batch), len(old), tokens

    def pause(self, queue: str | None, now: float) -> None:
        """Stop new starts in ``queue``, or in all queues if None."""
        with self.db.write() as connection:
            connection.execute(Q.pause_queue, {"name": queue or "*", "now": now})

    def resume(self, queue: str | None) -> None:
        """Allow starts in ``queue`` again; None lifts every pause.

        Raises :class:`WrongState` for a queue that is only paused because all queues are.
        """
        with self.db.write() as connection:
            paused = {name for (name,) in connection.execute(Q.paused)}
            if queue is not None and queue not in paused and "*" in paused:
                raise WrongState(f"all queues are paused, not {queue} by name; run 'queuectl resume' without a name")
            connection.execute(Q.resume_queue, {"name": queue or "*"})


# ---------------------------------------------------------------------- within a transaction


def _pruned_states(state: str | None) -> list[str]:
    """Return the states of jobs to prune; raise ``BadInput`` for one that is not finished."""
    states = [each for each in State if each in FINISHED_STATES]
    if state is not None and state not in states:
        raise BadInput(f"prune removes finished jobs: {', '.join(states)}; not {state}")
    return [*states] if state is None else [state]


def load_jobs(connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, JobRef]:
    """Return the jobs with these ids, in the given order; unknown ids are left out."""
    jobs = {row[1]: JobRef.from_row(row) for row in connection.execute(Q.jobs_by_id, {"ids": json.dumps(list(ids))})}
    return {name: jobs[name] for name in ids if name in jobs}


def _load_all(connection: sqlite3.Connection, ids: Sequence[str], action: str) -> list[JobRef]:
    """Return the jobs, each once, in enqueue order; raise unless all exist and allow ``action``."""
    found = load_jobs(connection, dict.fromkeys(ids))
    for job_id in ids:
        if job_id not in found:
            raise not_found(connection, job_id)
        check_action(action, job_id, found[job_id].state)
    return sorted(found.values())


def retry_jobs(connection: sqlite3.Connection, jobs: Sequence[JobRef], now: float, *, fresh: bool = False) -> None:
    """Make the jobs, given in enqueue order, run again now; with ``fresh`` failed ones have a full retry budget, too.

    Finished jobs with unmet dependencies become blocked. Raises :class:`WrongState` if one depends on a dead or
    cancelled job that is not retried with it.
    """
    independent: list[JobRef] = []
    dependent: list[JobRef] = []
    for job in jobs:
        (dependent if job.has_dependencies and job.state is not State.FAILED else independent).append(job)
    _requeue(connection, independent, State.PENDING, now, fresh=fresh)
    for job in dependent:
        others = unmet_dependencies(connection, job.seq)
        check_dependencies(job.id, others, UNMEETABLE)
        _requeue(connection, [job], State.BLOCKED if others else State.PENDING, now)


def cancel_jobs(connection: sqlite3.Connection, jobs: Iterable[JobRef], now: float) -> list[CancelRequest]:
    """Cancel waiting jobs, and request it for running ones; return these."""
    running = [job for job in jobs if job.state is State.PROCESSING]
    waiting = [job for job in jobs if job.state is not State.PROCESSING]
    connection.execute(Q.cancel_running, {"seqs": _seqs_json(running), "now": now})
    cancel_waiting(connection, [job.seq for job in waiting], "cancelled by a person", now)
    if connection.execute(Q.any_dependents).fetchone():
        for job in waiting:
            update_dependents(connection, job.seq, job.id, State.CANCELLED, now)
    return [CancelRequest(job.id, job.worker) for job in running]


def check_dependencies(job_id: str, others: Iterable[tuple[str, State]], unmeetable: Collection[State]) -> None:
    """Raise :class:`WrongState` if a job depends on one in an ``unmeetable`` state."""
    for other, state in others:
        if state in unmeetable:
            raise WrongState(f"job {job_id} waits for {other}, which is {state}; retry that one first")


def _requeue(
    connection: sqlite3.Connection, jobs: Sequence[JobRef], state: State, now: float, *, fresh: bool = False
) -> None:
    for job in jobs:
        check_transition(job.id, job.state, state)
    connection.execute(Q.forget_values, {"seqs": _seqs_json(jobs)})
    connection.execute(Q.retry_jobs, {"seqs": _seqs_json(jobs), "state": state, "now": now, "fresh": fresh})


def delete_jobs(connection: sqlite3.Connection, jobs: Iterable[JobRef], now: float) -> list[str]:
    """Delete the jobs with their history, cancel or unblock their dependents, and return the attempts' tokens."""
    seqs = {"seqs": _seqs_json(jobs)}
    met = []
    for other, seq, blocked, any_end in connection.execute(Q.blocked_by, seqs).fetchall():
        if any_end:
            met.append(seq)
        elif connection.execute(Q.blocked_job, {"seq": seq}).fetchone():
            cancel_waiting(connection, [seq], f"job {other}, which it waited for, was deleted", now)
            update_dependents(connection, seq, blocked, State.CANCELLED, now)
    tokens = [token for (token,) in connection.execute(Q.tokens_of_jobs, seqs)]
    connection.execute(Q.delete_jobs, seqs)
    if met:
        unblock_jobs(connection, met, now)
    return tokens


def _seqs_json(jobs: Iterable[JobRef]) -> str:
    return json.dumps([job.seq for job in jobs])


def not_found(connection: sqlite3.Connection, job_id: str) -> NotFound:
    """Return the error for an id that no job has."""
    return NotFound(f"{describe_missing(connection, job_id)}see 'queuectl list'")
