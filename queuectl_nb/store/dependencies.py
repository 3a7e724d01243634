"""Job dependencies (``--after``, ``--after-any``): resolved when jobs are inserted, updated when a job finishes."""

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
    "unblock_jobs",
    "unmet_dependencies",
    "update_dependents",
]

UNMEETABLE = (State.DEAD, State.CANCELLED)
"""States of a job in which its dependents can never run."""


class DependencyResolver:
    """Resolves the dependencies of a list of new jobs; call :meth:`resolve` for each, in order.

    ``columns`` are those of table ``dependents`` for the jobs resolved so far.
    """

    def __init__(self, connection: sqlite3.Connection, new_jobs: Mapping[str, int], specs: Sequence[JobSpec]) -> None:
        """Load every existing job that ``specs`` depend on; ``new_jobs`` maps the new ids to their ``seq``."""
        self.new_jobs = new_jobs
        self._connection = connection
        self.columns: dict[str, list[int]] = {"other": [], "job": [], "any_end": []}
        self._cancelled: set[int] = set()
        names = sorted({name for spec in specs for name in (*spec.after, *spec.after_any)})
        found = connection.execute(Q.states_of_jobs, {"ids": json.dumps(names)}).fetchall()
        self._existing = {name: (seq, State(state)) for name, state, seq in found}

    def resolve(self, spec: JobSpec, seq: int) -> tuple[State, str | None]:
        """Return the initial state of a job, and the reason if it is cancelled."""
        state, reason = State.PENDING, None
        others = [*((name, False) for name in spec.after), *((name, True) for name in spec.after_any)]
        for other, any_end in others:
            other_seq, other_state = self._find(other, seq)
            for column, value in zip(self.columns.values(), (other_seq, seq, any_end), strict=True):
                column.append(value)
            if other_state in UNMEETABLE and not any_end and reason is None:
                self._cancelled.add(seq)
                state, reason = State.CANCELLED, _dependency_error(other, other_state)
            elif reason is None and not (other_state is State.COMPLETED or (any_end and other_state in UNMEETABLE)):
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


def update_dependents(
    connection: sqlite3.Connection,
    seq: int,
    job_id: str,
    state: State,
    now: float,
    *,
    boottime: BootTime = WALL_CLOCK_ONLY,
) -> int:
    """Unblock or cancel the dependents of a finished job; return how many were unblocked.

    Dependents that wait for nothing else become pending if it completed or they wait for any end (``after_any``). The
    others of a dead or cancelled job are cancelled with the reason, which finishes them, too.
    """
    unblocked = 0
    finished = [(seq, job_id, state)]
    while finished:
        seq, job_id, state = finished.pop()
        blocked = connection.execute(Q.blocked_dependents, {"seq": seq}).fetchall()
        met = [each for each, _, any_end in blocked if any_end or state is State.COMPLETED]
        unmet = [(each, name) for each, name, any_end in blocked if not any_end and state is not State.COMPLETED]
        if met:
            unblocked += unblock_jobs(connection, met, now, boottime)
        if unmet:
            cancel_waiting(connection, [each for each, _ in unmet], _dependency_error(job_id, state), now)
            finished += [(each, name, State.CANCELLED) for each, name in unmet]
    return unblocked


def unblock_jobs(
    connection: sqlite3.Connection, seqs: Sequence[int], now: float, boottime: BootTime = WALL_CLOCK_ONLY
) -> int:
    """Make those of these blocked jobs pending that wait for no other job; return how many."""
    values = {"seqs": json.dumps(seqs), "now": now, "boottime": boottime.seconds}
    return connection.execute(Q.unblock_jobs, values).rowcount


def cancel_waiting(connection: sqlite3.Connection, seqs: Sequence[int], error: str, now: float) -> None:
    """Cancel jobs that no worker holds, with ``error`` as the reason."""
    connection.execute(Q.cancel_waiting, {"seqs": json.dumps(seqs), "error": error, "now": now})


def _dependency_error(job_id: str, state: str) -> str:
    return f"job {job_id}, which it waited for, is {state}"
