"""The estimated time until jobs have finished."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.engine.heartbeat import is_dead
from queuectl_nb.model.errors import InvalidSetting
from queuectl_nb.model.eta import estimate
from queuectl_nb.model.settings import Settings
from queuectl_nb.model.workload import (
    MIN_PROGRESS,
    Ended,
    RunningJob,
    WaitingJob,
    Workload,
    find_numbers,
    work_names,
)
from queuectl_nb.store.eta import QueuedJob, read_attempts_near, read_eta_rows
from queuectl_nb.store.metrics import LiveMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from queuectl_nb.store.eta import Attempt, EtaRows
    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.store import Store
    from queuectl_nb.store.workers import WorkerRow

__all__ = ["Eta", "read_eta"]

HISTORY = 200
"""Maximum number of attempts of the same work that are used, the newest ones."""
ENOUGH_HISTORY = 3
"""With fewer attempts of the same command without its values, those of the same program count as well."""
MAX_UNKNOWN = 3
"""Maximum number of works of which older attempts are read if none are among the recent ones."""
MAX_OVERHEAD_S = 0.1
"""Limit of the time between two jobs of a worker; longer ones are due to an empty queue."""
MAX_LIVE_FILES = 64
"""Maximum number of running jobs whose progress is read."""
MAX_BLOCKED = 300
"""More blocked jobs are simulated as if they could start: only the time between a job and its dependents is missing."""
MAX_IN_UNIT = 100
"""An end of the range that is not below this number of units of the middle has a unit of its own."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
HELD_PRIORITY = 1_000_000
"""Priority of jobs that a worker has claimed: they start before all others."""


class Eta(NamedTuple):
    """The estimated time until jobs have finished.

    ``low``, ``mid`` and ``high`` are seconds from now: the middle, and a range that holds in most cases. All are None
    if nothing is left to do, or if the time is unknown; then ``reason`` says why. ``print(eta)`` shows one line.
    """

    low: float | None = None
    mid: float | None = None
    high: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        """Return ``About 14 min left (11 to 19 min)``, why the time is unknown, or nothing if nothing is left.

        >>> print(Eta(660, 840, 1140))
        About 14 min left (11 to 19 min)
        """
        if self.low is None or self.mid is None or self.high is None:
            return f"Time left is unknown: {self.reason}" if self.reason else ""
        size, unit = _unit(self.mid)
        low, mid, high = (_round(value / size) for value in (self.low, self.mid, self.high))
        end = f"{high} {unit}"
        if self.high / size >= MAX_IN_UNIT:
            low, larger = f"{low} {unit}", _unit(self.high)
            end = f"{_round(self.high / larger[0])} {larger[1]}"
        if unit == "s" and mid == "0":
            return "Less than 1 s left" if high in "01" else f"Less than 1 s left (up to {end})"
        return f"About {mid} {unit} left" + (f" ({low} to {end})" if low != high else "")

    def to_json(self) -> dict[str, float] | None:
        """Return ``low``, ``mid`` and ``high`` in seconds, or None if they are not known."""
        if self.low is None or self.mid is None or self.high is None:
            return None
        return {"low": round(self.low, 3), "mid": round(self.mid, 3), "high": round(self.high, 3)}


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 1.5 * _MINUTE:
        return 1, "s"
    if seconds < 1.5 * _HOUR:
        return _MINUTE, "min"
    return (_HOUR, "h") if seconds < 1.5 * _DAY else (_DAY, "d")


def _round(value: float) -> str:
    """Return a number with two digits.

    >>> [_round(each) for each in (0.2, 3.14, 14.6, 127)]
    ['0', '3', '15', '130']
    """
    return f"{round(value, -1) if value >= 100 else value:.0f}"


def read_eta(store: Store, job_filter: Filter | None = None) -> Eta:
    """Return when the jobs of a filter, or all, will have finished."""
    rows = read_eta_rows(store.db, job_filter, time.time())
    if not any(job.selected for job in rows.claimed) and not any(job.selected for job in rows.waiting):
        return Eta()
    _, paused, limits = store.read_waiting()
    workers = [row for row in store.workers.list_all() if not row.stop and not is_dead(store.worker_dir, row)]
    if reason := _obstacle(rows, paused, workers):
        return Eta(reason=reason)
    try:
        settings = store.settings.read()
    except InvalidSetting:
        settings = Settings.from_stored({})
    known = _KnownWork(rows.attempts)
    for widened in (False, True):
        slots, running, begun_later = _running(store, rows, workers, known, settings)
        waiting = _waiting([*rows.waiting, *begun_later], known, settings, paused, workers)
        jobs: list[RunningJob | WaitingJob] = [
            *(job for job in running if (job.progress or 0) < MIN_PROGRESS),
            *waiting,
        ]
        unknown = {job.work: job.id for job in reversed(jobs) if job.work not in known.history}
        if not unknown:
            break
        *_, first = unknown.values()
        if widened:
            return Eta(reason=f"no job like {first} has finished yet")
        known.add(read_attempts_near(store.db, [*unknown.values()][-MAX_UNKNOWN:]))
    history = {job.work: known.history[job.work] for job in jobs}
    limit_of = {queue: limit for queue, limit, _ in limits}
    return Eta(*estimate(Workload(history, running, waiting, slots, limit_of, settings.retry_policy(None))))


def _obstacle(rows: EtaRows, paused: set[str], workers: Sequence[WorkerRow]) -> str:
    """Return why selected jobs cannot start at present."""
    queues = {job.queue for job in rows.waiting if job.selected}
    if "*" in paused and queues:
        return "all queues are paused"
    if found := sorted(queues & paused):
        return f"queue {found[0]} is paused"
    if not workers and queues:
        return "no workers are running"
    for queue in sorted(queues):
        if not _is_served(queue, workers):
            return f"no worker serves queue {queue}"
    return ""


def _is_served(queue: str, workers: Sequence[WorkerRow]) -> bool:
    return any(not row.queues or queue in row.queues for row in workers)


def _running(
    store: Store, rows: EtaRows, workers: Sequence[WorkerRow], known: _KnownWork, settings: Settings
) -> tuple[list[frozenset[str]], list[RunningJob], list[QueuedJob]]:
    """Return the queues of each slot, the running jobs, and jobs that a worker has claimed to run next.

    A worker runs one job at a time; for a dask cluster, as many slots are assumed as jobs run now.
    """
    parallel = {row.name for row in workers if (row.host, row.pool) in rows.dask_pools}
    slots, slot_of, running, later = list[frozenset[str]](), dict[str, int](), list[RunningJob](), list[QueuedJob]()
    queues = {row.name: frozenset(row.queues) for row in workers}
    for job in rows.claimed:
        if job.worker in slot_of and job.worker not in parallel:
            work, used = (job.id, job.kind, job.command, job.queue), job.attempts - 1
            later.append(QueuedJob(0, *work, HELD_PRIORITY, used, job.max_retries, job.before_s, selected=job.selected))
            continue
        slot = None
        if job.worker in queues:
            slot = slot_of[job.worker] = len(slots)
            slots.append(queues[job.worker])
        progress = None
        if len(running) < MAX_LIVE_FILES:
            progress = LiveMetrics(store.db.output_dir, job.token, job.started_at).read().progress
        running.append(
            RunningJob(
                known.find(job.kind, job.command),
                max(0.0, rows.read_at - job.started_at),
                slot,
                queue=job.queue,
                progress=progress,
                timeout_s=settings.timeout_for(job.timeout),
                attempts_left=settings.retry_policy(job.max_retries).max_retries - job.attempts,
                first=bool(job.first),
                before=job.before_s,
                selected=job.selected,
                id=job.id,
                numbers=find_numbers(job.command),
            )
        )
    slots += [queues[name] for name in queues if name not in slot_of]
    return slots, running, later


def _waiting(
    jobs: Sequence[QueuedJob], known: _KnownWork, settings: Settings, paused: set[str], workers: Sequence[WorkerRow]
) -> list[WaitingJob]:
    """Return the waiting jobs that affect the estimate: others are left out if they start after the selected ones."""
    chained = sum(job.blocked for job in jobs) <= MAX_BLOCKED
    last = max((job for job in jobs if job.selected), key=_order, default=None)
    if last is None:
        return []
    budgets = {given: settings.retry_policy(given).max_retries for given in {job.max_retries for job in jobs}}
    some_blocked = any(job.blocked for job in jobs if job.selected)
    found = []
    for job in jobs:
        if not job.selected:
            later = _order(job) > _order(last) and not some_blocked
            if later or job.queue in paused or not _is_served(job.queue, workers):
                continue
        found.append(
            WaitingJob(
                known.find(job.kind, job.command),
                _order(job),
                queue=job.queue,
                weight=job.weight,
                due_s=job.due_s,
                attempts_left=max(1, budgets[job.max_retries] - job.attempts),
                before=job.before_s,
                selected=job.selected,
                id=job.id,
                after=job.after if chained else (),
                numbers=find_numbers(job.command),
            )
        )
    return found


def _order(job: QueuedJob) -> tuple[int, int]:
    return -job.priority, job.seq


class _KnownWork:
    """Recent attempts by what they ran: a function, a notebook, or a command without its values."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self.history: dict[str, list[Ended]] = {}
        next_start: dict[str, float] = {}
        gaps = []
        for *_, started_at, finished_at, _, _, _, worker in attempts:
            if worker in next_start:
                gaps.append(next_start[worker] - finished_at)
            next_start[worker] = started_at
        self._overhead = min(MAX_OVERHEAD_S, max(0.0, sorted(gaps)[len(gaps) // 2])) if gaps else 0.0
        self.add(attempts)

    def add(self, attempts: Iterable[Attempt]) -> None:
        """Add attempts of work that is not known so far."""
        new = defaultdict[str, list[Ended]](list)
        for kind, command, started_at, finished_at, failed, first, before_s, _ in attempts:
            seconds = max(0.0, finished_at - started_at) + self._overhead
            ended = Ended(seconds, bool(failed), bool(first), before_s, find_numbers(command))
            for work in work_names(kind, command):
                if work not in self.history and len(history := new[work]) < HISTORY:
                    history.append(ended)
        self.history |= new

    def find(self, kind: str, command: str) -> str:
        """Return the work of a job: the most specific of which enough attempts, or at least some, have finished."""
        names = work_names(kind, command)
        for least in (ENOUGH_HISTORY, 1):
            for name in names:
                if len(self.history.get(name, ())) >= least:
                    return name
        return names[0]
