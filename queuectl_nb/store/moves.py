"""What people do to a set of jobs within one transaction: each verb is a statement or two, however many jobs.

A statement for each job held the gate for 40 µs of it: four seconds for a sweep of a hundred thousand.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.errors import WrongState
from queuectl_nb.model.state import State, check_move
from queuectl_nb.store.dependencies import HOPELESS, cancel_waiting, release, unmet
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["KnownJob", "cancel", "load_jobs", "refuse_hopeless", "remove", "retry"]


class KnownJob(NamedTuple):
    """What a verb must know of a job."""

    seq: int
    id: str
    state: State
    worker: str | None
    waits: bool
    """Whether it was enqueued to wait for others (``after``)."""


def load_jobs(connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, KnownJob]:
    """Return the jobs of these ids as they are now, in the order given; unknown ids are left out."""
    rows = connection.execute(Q.known_jobs, {"ids": json.dumps(list(ids))})
    found = {name: KnownJob(seq, name, State(state), worker, bool(waits)) for seq, name, state, worker, waits in rows}
    return {name: found[name] for name in ids if name in found}


def retry(connection: sqlite3.Connection, jobs: Sequence[KnownJob], now: float) -> None:
    """Make the jobs, in the order of enqueue, run again now.

    One at rest whose others are not completed any more becomes blocked. Raises :class:`WrongState` where one waits
    for a dead or cancelled job that is not retried with it.
    """
    plain: list[KnownJob] = []
    waiting: list[KnownJob] = []
    for job in jobs:
        (waiting if job.waits and job.state is not State.FAILED else plain).append(job)
    _put(connection, plain, State.PENDING, now)
    for job in waiting:
        others = unmet(connection, job.seq)
        refuse_hopeless(job.id, others, HOPELESS)
        _put(connection, [job], State.BLOCKED if others else State.PENDING, now)


def refuse_hopeless(job_id: str, others: Iterable[tuple[str, State]], hopeless: Collection[State]) -> None:
    """Refuse to run a job again while another that it waits for is in a state that nothing leads on from."""
    for other, state in others:
        if state in hopeless:
            msg = f"job {job_id} waits for {other}, which is {state}; retry that one first"
            raise WrongState(msg)


def _put(connection: sqlite3.Connection, jobs: Sequence[KnownJob], state: State, now: float) -> None:
    for job in jobs:
        check_move(job.id, job.state, state)
    connection.execute(Q.retry_jobs, {"places": _places(jobs), "state": state, "now": now})


def cancel(connection: sqlite3.Connection, jobs: Sequence[KnownJob], now: float) -> list[KnownJob]:
    """Cancel the jobs that no worker holds, and mark the others for their workers; return those others."""
    running = [job for job in jobs if job.state is State.PROCESSING]
    waiting = [job for job in jobs if job.state is not State.PROCESSING]
    connection.execute(Q.cancel_running, {"places": _places(running), "now": now})
    cancel_waiting(connection, [job.seq for job in waiting], "cancelled by a person", now)
    if connection.execute(Q.any_dependents).fetchone():
        for job in waiting:
            release(connection, job.seq, job.id, State.CANCELLED, now)
    return running


def remove(connection: sqlite3.Connection, jobs: Iterable[KnownJob], now: float) -> list[str]:
    """Remove the jobs with their history, cancelling what waits for them; return the tokens of their attempts."""
    places = {"places": _places(jobs)}
    for other, seq, blocked in connection.execute(Q.blocked_by, places).fetchall():
        if connection.execute(Q.blocked_job, {"seq": seq}).fetchone():
            cancel_waiting(connection, [seq], f"job {other}, which it waited for, was deleted", now)
            release(connection, seq, blocked, State.CANCELLED, now)
    tokens = [token for (token,) in connection.execute(Q.tokens_of_jobs, places)]
    connection.execute(Q.delete_jobs, places)
    return tokens


def _places(jobs: Iterable[KnownJob]) -> str:
    """Return where the jobs stand, as the statements take it."""
    return json.dumps([job.seq for job in jobs])
