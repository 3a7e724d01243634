"""Job dependencies (``--after``): resolved when jobs are inserted, updated when a job finishes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import NotFound
from queuectl_nb.model.state import State
from queuectl_nb.model.validation import did_you_mean, shown_id
from queuectl_nb.store.boot_time import WALL_CLOCK_ONLY, BootTime
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.job import JobSpec

__all__ = [
    "UNMEETABLE",
    "DependencyResolver",
    "cancel_waiting",
    "describe_missing",
    "unmet_dependencies",
    "update_dependents",
]

UNMEETABLE = (State.DEAD, State.CANCELLED)
"""States of a job in which its dependents can never run."""


class DependencyResolver:
    """Resolves the dependencies of a list of new jobs; call :meth:`resolve` for each, in order.

    ``others`` and ``jobs`` are the columns of table ``dependents`` for the jobs resolved so far.
    """

    def __init__(self, connection: sqlite3.Connection, new_jobs: Mapping[str, int], specs: Sequence[JobSpec]) -> None:
        """Load every existing job that ``specs`` depend on; ``new_jobs`` maps the new ids to their ``seq``."""
        self.new_jobs = new_jobs
        self._connection = connection
        self.others: list[int] = []
        self.jobs: list[int] = []
        self._cancelled: set[int] = set()
        names = sorted({name for spec in specs for name in spec.after})
        found = connection.execute(Q.states_of_jobs, {"ids": json.dumps(names)}).fetchall()
        self._existing = {name: (seq, State(state)) for name, state, seq in found}

    def resolve(self, spec: JobSpec, seq: int) -> tuple[State, str | None]:
        """Return the initial state of a job, and the reason if it is cancelled."""
        state, reason = State.PENDING, None
        for other in spec.after:
            other_seq, other_state = self._find(other, seq)
            self.others.append(other_seq)
            self.jobs.append(seq)
            if other_state in UNMEETABLE and reason is None:
                self._cancelled.add(seq)
                state, reason = State.CANCELLED, _dependency_error(other, other_state)
            elif other_state is not State.COMPLETED and reason is None:
                state = State.BLOCKED
        return state, reason

    def _find(self, other: str, seq: int) -> tuple[int, State]:
        new = self.new_jobs.get(other)
        if new is not None and new < seq:
            return new, State.CANCELLED if new in self._cancelled else State.BLOCKED
        if other not in self._existing:
            missing = describe_missing(self._connection, other, " to wait for (after)")
            raise NotFound(f"{missing}it must be in the queue or earlier in the same list").with_index(
                seq - min(self.new_jobs.values())
            )
        return self._existing[other]


SIMILAR_START = 2
"""Leading characters that a similar id has in common, unless its job is among the newest."""


def describe_missing(connection: sqlite3.Connection, job_id: object, purpose: str = "") -> str:
    """Return that there is no such job, in which file, and the most similar id; the remedy is to follow."""
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    start = job_id[:SIMILAR_START] if isinstance(job_id, str) and job_id.isascii() else "-"
    similar = [name for (name,) in connection.execute(Q.similar_ids, {"start": start})]
    return f"no job {shown_id(job_id)}{purpose} in {path}; {did_you_mean(job_id, similar)}"


def unmet_dependencies(connection: sqlite3.Connection, seq: int) -> list[tuple[str, State]]:
    """Return id and state of the jobs that job ``seq`` still waits for."""
    return [(job_id, State(state)) for job_id, state in connection.execute(Q.unmet_dependencies, {"seq": seq})]


def update_dependents(  # noqa: PLR0913 - the facts of the finished job, and both clocks
    connection: sqlite3.Connection,
    seq: int,
    job_id: str,
    state: State,
    now: float,
    *,
    boottime: BootTime = WALL_CLOCK_ONLY,
) -> int:
    """Unblock or cancel the dependents of a finished job; return how many were unblocked.

    If it completed, dependents that wait for nothing else become pending. If it is dead or cancelled, they are
    cancelled with the reason, and so are their own dependents.
    """
    unblocked = 0
    finished = [(seq, job_id, state)]
    while finished:
        seq, job_id, state = finished.pop()
        if state is State.COMPLETED:
            values = {"seq": seq, "now": now, "boottime": boottime.seconds}
            unblocked += connection.execute(Q.unblock_dependents, values).rowcount
            continue
        blocked = connection.execute(Q.blocked_dependents, {"seq": seq}).fetchall()
        cancel_waiting(connection, [each for each, _ in blocked], _dependency_error(job_id, state), now)
        finished += [(each, name, State.CANCELLED) for each, name in blocked]
    return unblocked


def cancel_waiting(connection: sqlite3.Connection, seqs: Sequence[int], error: str, now: float) -> None:
    """Cancel jobs that no worker holds, with ``error`` as the reason."""
    connection.execute(Q.cancel_waiting, {"seqs": json.dumps(seqs), "error": error, "now": now})


def _dependency_error(job_id: str, state: str) -> str:
    return f"job {job_id}, which it waited for, is {state}"
