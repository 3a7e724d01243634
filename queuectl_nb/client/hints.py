"""Hints for users: why jobs wait although they could start, which timeout a job inherits, when the disk is full."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine.enclosing_job import enclosing_job
from queuectl_nb.model.errors import InvalidSetting
from queuectl_nb.model.state import WAITING_STATES, State
from queuectl_nb.store.paths import PROJECT_DIR, find_queue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.maintenance import Growth
    from queuectl_nb.store.store import Store
    from queuectl_nb.store.workers import WorkerRow

__all__ = [
    "CONSOLE",
    "MAGIC",
    "db_option",
    "describe_growth",
    "disk_hints",
    "empty_hints",
    "job_hints",
    "timeout_facts",
    "timeout_hint",
    "waiting_hints",
]

CONSOLE, MAGIC = "queuectl", "%queuectl"
"""How commands begin in a terminal, and in a notebook."""
DAY = 86_400
HORIZON_S = 7 * DAY
"""A disk that is full later than this is not mentioned."""
WARNING_SHARE = 0.8
"""Share of an inherited timeout after which the card of a running job warns."""


def timeout_hint(store: Store) -> str | None:
    """Return what a job without a timeout of its own gets from the setting; None if that is no limit."""
    limit = store.settings.read().timeout
    return f"Times out after {limit:.15g} s (setting timeout); --timeout 0 for no limit." if limit else None


def timeout_facts(store: Store, job: JobRecord, elapsed_s: float | None) -> list[str]:
    """Return the timeout that an unfinished job inherits, and after 80 % of it a warning; none if it has its own."""
    try:
        limit = store.settings.read().timeout if job.timeout is None and not job.is_finished else 0
    except InvalidSetting:
        limit = 0
    if not limit:
        return []
    if elapsed_s is not None and elapsed_s >= WARNING_SHARE * limit:
        return [f"{elapsed_s:.0f} of {limit:.15g} s until its timeout; '{MAGIC} config set timeout 0' lifts it"]
    return [f"times out after {limit:.15g} s (setting timeout)"]


def job_hints(store: Store, job: JobRecord, program: str) -> list[str]:
    """Return why a job waits although it could start; none if it has started or finished."""
    if job.state is State.BLOCKED:
        return waiting_hints(store, program=program)  # the jobs it waits for can be in any queue
    return waiting_hints(store, [job.queue], program=program) if job.state in WAITING_STATES else []


def waiting_hints(store: Store, queues: Collection[str] | None = None, *, program: str = CONSOLE) -> list[str]:
    """Return why the unfinished jobs of ``queues`` (default: all) are not served, each with the command that helps.

    Empty if they are served, or there are none. ``program`` is :data:`CONSOLE` or :data:`MAGIC`.
    """
    waiting, paused, limits = store.read_waiting()
    chosen = {name: n for name, n in waiting.items() if queues is None or name in queues}
    if not chosen:
        return []
    hints = list(_causes(store, chosen, paused, program))
    for name, limit, running in limits:
        if running >= limit and chosen.get(name):
            hints.append(f"queue {name} runs its limit of {limit} job(s); see '{program} limit{db_option(store)}'")
    return hints


def _causes(store: Store, waiting: dict[str, int], paused: Collection[str], program: str) -> Iterator[str]:
    from queuectl_nb.engine.heartbeat import is_dead  # not needed by most processes that enqueue

    startable = [name for name, n in waiting.items() if n]
    if "*" in paused and startable:
        yield f"all queues are paused; resume them with '{program} resume{db_option(store)}'"
    for name in startable:
        if name in paused:
            yield f"queue {name} is paused; resume it with '{program} resume {name}{db_option(store)}'"
    workers = [row for row in store.workers.list_all() if not is_dead(store.worker_dir, row)]
    start = f"{program} worker start{db_option(store)}"
    if not workers:
        yield f"no workers are running on this queue; start some with '{start}'"
    elif all(row.stop for row in workers):
        yield f"all workers of this queue are stopping; start others with '{start}'"
    elif not (free := _not_waiting(store, [row for row in workers if not row.stop])):
        yield f"the only worker runs this job; if it waits for others, start another worker with '{start}'"
    else:
        served = [row.queues for row in free]
        for name in startable if all(served) else ():
            if name not in paused and not any(name in each for each in served):
                yield f"no worker serves queue {name}; start one with '{start} --queue {name}'"


def _not_waiting(store: Store, workers: Sequence[WorkerRow]) -> Sequence[WorkerRow]:
    """Return the workers without the one that runs the job of this process, which it can wait for others in."""
    own = enclosing_job(store.path)
    if own is None:
        return workers
    jobs = store.workers.current_jobs()
    return [row for row in workers if jobs.get(row.name) != own]


def empty_hints(store: Store) -> list[str]:
    """Return which file this is if it has no jobs, because another one may be meant."""
    if any(store.reader.counts().values()):
        return []
    return [f"no jobs in {store.path}; --db or QUEUECTL_DB names another queue"]


def disk_hints(store: Store, program: str) -> list[str]:
    """Return that the disk will be full within days, with the command that helps; empty otherwise."""
    growth = _estimate_growth(store)
    return ["; ".join(_describe(store, growth, program))] if growth.full_in_s <= HORIZON_S else []


def describe_growth(store: Store) -> tuple[str, str]:
    """Return how fast the queue grows, and what helps if the disk will be full within days."""
    return _describe(store, _estimate_growth(store), CONSOLE)


def _estimate_growth(store: Store) -> Growth:
    from queuectl_nb.store.maintenance import read_growth  # not loaded by an enqueue

    return read_growth(store.db, store.settings.read_valid(), time.time())


def _describe(store: Store, growth: Growth, program: str) -> tuple[str, str]:
    from humanize import naturaldelta  # slow to load: not for a status without a problem

    from queuectl_nb.render.progress import format_size

    text = f"the queue grows by about {format_size(growth.bytes_per_s * DAY)} a day"
    if growth.full_in_s > HORIZON_S:
        return text, ""
    option, age = db_option(store), "1d" if growth.full_in_s > DAY else "1h"
    return f"{text}: the disk is full in {naturaldelta(growth.full_in_s)}", (
        f"delete old jobs with '{program} prune --older-than {age} --vacuum{option}', or let the workers do that with"
        f" '{program} config set retention {age}{option}'"
    )


def db_option(store: Store) -> str:
    """Return the option that names this queue, empty if a command finds it without."""
    # platformdirs, which finds the user's queue, is slow to load: only ask for a file that may be the default one
    may_be_default = os.environ.get("QUEUECTL_DB") or store.path.parent.name in (PROJECT_DIR, "queuectl")
    if may_be_default and find_queue() == store.path:
        return ""
    import shlex

    near = os.path.relpath(store.path)
    return f" --db {shlex.quote(str(store.path) if near.startswith('..') else near)}"
