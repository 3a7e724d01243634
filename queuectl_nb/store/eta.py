"""Data for the estimate of the remaining time: recent attempts, running and waiting jobs.

The number of rows read does not depend on the number of finished jobs. If many jobs wait, a sample of them is read from
an index; but a selection other than a list of ids is searched among all waiting jobs.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.state import State
from queuectl_nb.store.boot_time import read_boot_time
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.job_filter import Filter

__all__ = ["Attempt", "ClaimedJob", "EtaRows", "QueuedJob", "read_attempts_near", "read_eta_rows"]

RECENT_ATTEMPTS = 400
REACH = 400
"""Jobs that were enqueued at most this number of jobs before or after another one may belong to the same sweep."""
SAMPLED_JOBS = 300
"""Maximum number of waiting jobs that are read."""
MAX_MISSES = 3
"""If fewer jobs than this per waiting one were ever enqueued, all of them are sampled."""
_GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio are spread evenly, without a period."""
WAITING = (State.PENDING, State.FAILED, State.BLOCKED)
_COLUMNS = """
    seq, id, kind, command, queue, priority, attempts, max_retries, finished_at - started_at, ready, run_at,
    due_boottime, state = 'blocked', after
"""


class Attempt(NamedTuple):
    """A finished attempt."""

    kind: str
    command: str
    started_at: float
    finished_at: float
    failed: bool
    first: bool
    before_s: float | None
    """The run time of the attempt before it."""
    worker: str


class ClaimedJob(NamedTuple):
    """A job that runs, or that its worker has claimed to run next."""

    id: str
    kind: str
    command: str
    queue: str
    attempts: int
    max_retries: int | None
    timeout: float | None
    first: bool
    before_s: float | None
    started_at: float
    worker: str
    token: str
    selected: bool


class QueuedJob(NamedTuple):
    """A waiting job, which represents ``weight`` jobs."""

    seq: int
    id: str
    kind: str
    command: str
    queue: str
    priority: int
    attempts: int
    max_retries: int | None
    before_s: float | None
    due_s: float = 0
    blocked: bool = False
    after: tuple[str, ...] = ()
    selected: bool = True
    weight: float = 1


class EtaRows(NamedTuple):
    """Recent attempts, newest first; running and waiting jobs; and which pools (host, pid) use dask."""

    attempts: list[Attempt]
    claimed: list[ClaimedJob]
    waiting: list[QueuedJob]
    dask_pools: set[tuple[str, int]]
    read_at: float


def read_eta_rows(db: Database, job_filter: Filter | None, now: float) -> EtaRows:
    """Return the rows; the jobs of the filter, or all, are marked as selected."""
    with db.read() as connection:
        claimed = connection.execute(Q.running_attempts).fetchall()
        chosen = None if job_filter is None else _selected_ids(connection, job_filter, [row[0] for row in claimed])
        waiting = _waiting(connection, job_filter, now)
        limit = RECENT_ATTEMPTS if claimed or waiting else 0
        attempts = [*map(Attempt._make, connection.execute(Q.recent_attempts, {"limit": limit}))]
        pools = {(host, pid) for host, pid, executor in connection.execute(Q.pool_executors) if executor == "dask"}
    running = [ClaimedJob(*row, chosen is None or row[0] in chosen) for row in claimed]  # type: ignore[call-arg]
    return EtaRows(attempts, running, waiting, pools, now)


def read_attempts_near(db: Database, ids: Sequence[str]) -> list[Attempt]:
    """Return attempts, newest first, of jobs enqueued shortly before or after these."""
    values = {"ids": json.dumps(ids), "reach": REACH, "limit": RECENT_ATTEMPTS}
    with db.read() as connection:
        return [*map(Attempt._make, connection.execute(Q.attempts_near, values))]


def _selected_ids(connection: sqlite3.Connection, job_filter: Filter, ids: list[str]) -> set[str]:
    """Return those of the ids that the filter selects."""
    if job_filter.ids is not None:
        ids = list(set(ids).intersection(job_filter.ids))
    condition, values = replace(job_filter, ids=tuple(ids)).condition()
    return {name for (name,) in connection.execute(f"SELECT id FROM jobs {condition}", values)}


def _waiting(connection: sqlite3.Connection, job_filter: Filter | None, now: float) -> list[QueuedJob]:
    counts: dict[str, int] = dict(connection.execute(Q.counts))
    total = sum(counts.get(state, 0) for state in WAITING)
    if not total:
        return []
    everything = _sample(connection, total)
    weight = total / max(1, len(everything))
    if job_filter is None:
        return [_queued(row, now, selected=True, weight=weight) for row in everything]
    chosen, chosen_weight = _selected(connection, job_filter)
    names = set(job_filter.ids or ()) or {row[1] for row in chosen}
    return [_queued(row, now, selected=True, weight=chosen_weight) for row in chosen] + [
        _queued(row, now, selected=False, weight=weight) for row in everything if row[1] not in names
    ]


def _sample(connection: sqlite3.Connection, total: int) -> list[tuple[Any, ...]]:
    """Return the waiting jobs, or a sample if there are many.

    It does not take every n-th job, since the tasks of a grid repeat with a period. If most jobs wait, positions among
    all jobs are sampled, which is faster; otherwise the index of waiting ones is searched.
    """
    states = ", ".join(f"'{state}'" for state in WAITING)
    step = max(1, total // SAMPLED_JOBS)
    newest: int = connection.execute("SELECT max(seq) FROM jobs").fetchone()[0]
    if step > 1 and newest < total * MAX_MISSES:
        some = {1 + int(number * _GOLDEN % 1 * newest) for number in range(SAMPLED_JOBS * newest // total)}
        sql = f"SELECT {_COLUMNS} FROM jobs WHERE seq IN (SELECT value FROM json_each(?)) AND +state IN ({states})"
        found = connection.execute(sql, [json.dumps(sorted(some))]).fetchall()
        if len(found) > SAMPLED_JOBS / 2:
            return found
    sampled = "" if step == 1 else f" AND (seq * 2654435761 >> 12) % {step} = 0"
    seqs = f"SELECT seq FROM jobs INDEXED BY jobs_state WHERE state IN ({states}){sampled}"
    return connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE seq IN ({seqs})").fetchall()


def _selected(connection: sqlite3.Connection, job_filter: Filter) -> tuple[list[tuple[Any, ...]], float]:
    """Return the waiting jobs of a filter, or a sample, and how many each represents."""
    wanted = [state for state in WAITING if not job_filter.state or state in job_filter.state]
    if not wanted:
        return [], 1
    weight = 1
    if job_filter.ids is not None:
        weight = max(1, len(job_filter.ids) // SAMPLED_JOBS)
        job_filter = replace(job_filter, ids=job_filter.ids[::weight])
    condition, values = job_filter.in_states(wanted).condition()
    seqs = [seq for (seq,) in connection.execute(f"SELECT seq FROM jobs {condition} ORDER BY seq", values)]
    step = max(1, len(seqs) // SAMPLED_JOBS)
    sql = f"SELECT {_COLUMNS} FROM jobs WHERE seq IN (SELECT value FROM json_each(?))"
    return connection.execute(sql, [json.dumps(seqs[::step])]).fetchall(), weight * step


def _queued(row: tuple[Any, ...], now: float, *, selected: bool, weight: float) -> QueuedJob:
    *facts, ready, run_at, due_boottime, blocked, after = row
    due_s = 0.0
    if not ready:
        since_boot = read_boot_time().seconds
        by_wall_clock = due_boottime is None or since_boot is None
        due_s = max(0.0, run_at - now if by_wall_clock else due_boottime - since_boot)
    others = tuple(json.loads(after)) if blocked else ()
    return QueuedJob(*facts, due_s, bool(blocked), others, selected, weight)  # type: ignore[call-arg]
