"""What people do to a set of jobs within one transaction: each verb is a statement or two, however many jobs.

A statement for each job held the gate for 40 µs of it: four seconds for a sweep of a hundred thousand.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.errors import WrongState
from queuectl_nb.model.state import State, check_transition
from queuectl_nb.store.dependencies import UNMEETABLE, cancel_waiting, unmet_dependencies, update_dependents
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["JobRef", "cancel_jobs", "check_dependencies", "delete_jobs", "load_jobs", "retry_jobs"]


class JobRef(NamedTuple):
    """What a verb must know of a job."""

    seq: int
    id: str
    state: State
    worker: str | None
    has_dependencies: bool
    """Whether it was enqueued to wait for others (``after``)."""


def load_jobs(connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, JobRef]:
    """Return the jobs of these ids as they are now, in the order given; unknown ids are left out."""
    rows = connection.execute(Q.known_jobs, {"ids": json.dumps(list(ids))})
    found = {name: JobRef(seq, name, State(state), worker, bool(waits)) for seq, name, state, worker, waits in rows}
    return {name: found[name] for name in ids if name in found}


def retry_jobs(connection: sqlite3.Connection, jobs: Sequence[JobRef], now: float) -> None:
    """Make the jobs, in the order of enqueue, run again now.

    One at rest whose others are not completed any more becomes blocked. Raises :class:`WrongState` where one waits
    for a dead or cancelled job that is not retried with it.
    """
    plain: list[JobRef] = []
    waiting: list[JobRef] = []
    for job in jobs:
        (waiting if job.has_dependencies and job.state is not State.FAILED else plain).append(job)
    _requeue(connection, plain, State.PENDING, now)
    for job in waiting:
        others = unmet_dependencies(connection, job.seq)
        check_dependencies(job.id, others, UNMEETABLE)
        _requeue(connection, [job], State.BLOCKED if others else State.PENDING, now)


def check_dependencies(job_id: str, others: Iterable[tuple[str, State]], unmeetable: Collection[State]) -> None:
    """Refuse to run a job again while another that it waits for is in a state that nothing leads on from."""
    for other, state in others:
        if state in unmeetable:
            msg = f"job {job_id} waits for {other}, which is {state}; retry that one first"
            raise WrongState(msg)


def _requeue(connection: sqlite3.Connection, jobs: Sequence[JobRef], state: State, now: float) -> None:
    for job in jobs:
        check_transition(job.id, job.state, state)
    connection.execute(Q.retry_jobs, {"places": _seqs_json(jobs), "state": state, "now": now})


def cancel_jobs(connection: sqlite3.Connection, jobs: Sequence[JobRef], now: float) -> list[JobRef]:
    """Cancel the jobs that no worker holds, and mark the others for their workers; return those others."""
    running = [job for job in jobs if job.state is State.PROCESSING]
    waiting = [job for job in jobs if job.state is not State.PROCESSING]
    connection.execute(Q.cancel_running, {"places": _seqs_json(running), "now": now})
    cancel_waiting(connection, [job.seq for job in waiting], "cancelled by a person", now)
    if connection.execute(Q.any_dependents).fetchone():
        for job in waiting:
            update_dependents(connection, job.seq, job.id, State.CANCELLED, now)
    return running


def delete_jobs(connection: sqlite3.Connection, jobs: Iterable[JobRef], now: float) -> list[str]:
    """Remove the jobs with their history, cancelling what waits for them; return the tokens of their attempts."""
    places = {"places": _seqs_json(jobs)}
    for other, seq, blocked in connection.execute(Q.blocked_by, places).fetchall():
        if connection.execute(Q.blocked_job, {"seq": seq}).fetchone():
            cancel_waiting(connection, [seq], f"job {other}, which it waited for, was deleted", now)
            update_dependents(connection, seq, blocked, State.CANCELLED, now)
    tokens = [token for (token,) in connection.execute(Q.tokens_of_jobs, places)]
    connection.execute(Q.delete_jobs, places)
    return tokens


def _seqs_json(jobs: Iterable[JobRef]) -> str:
    """Return where the jobs stand, as the statements take it."""
    return json.dumps([job.seq for job in jobs])
