"""List and stop the workers of a queue, and parse the executor options."""

from __future__ import annotations

import contextlib
import math
import re
import signal
import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.job_actions import notify_workers
from queuectl_nb.engine import forced_stop, heartbeat, process_tree
from queuectl_nb.engine.dask.cluster import Cluster, address_of, require_dask
from queuectl_nb.engine.enclosing_job import enclosing_job
from queuectl_nb.engine.forced_stop import is_running
from queuectl_nb.engine.outcome_journal import read_journal
from queuectl_nb.model.errors import BadEnvironment, BadInput, Busy, NotFound, WaitTimeout
from queuectl_nb.model.times import format_time
from queuectl_nb.model.validation import did_you_mean, parse_choice, parse_number, parse_text, quoted
from queuectl_nb.render.json_shapes import WORKER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import psutil

    from queuectl_nb.client.eta import Eta
    from queuectl_nb.store.store import Store

__all__ = [
    "EXECUTORS",
    "MAX_IN_FLIGHT",
    "MAX_WORKERS",
    "list_workers",
    "parse_cluster",
    "read_status",
    "served_queues",
    "status_with",
    "stop_and_wait",
    "stop_workers",
    "unrecorded_results",
]

_POLL_INTERVAL_S = 0.05
"""Interval at which stopping workers are checked."""
_UNREGISTER_TIMEOUT_S = 2.0
"""Time in which the supervisor of a worker that has ended unregisters or replaces it."""
_REAP_TIMEOUT_S = 1.5
"""Time in which a program that runs as process 1 reaps a process that has ended; not all of them do so at once, or at
all."""
_NOTICE_AFTER_S = 1.0
"""``on_wait`` is called if the wait takes longer than this."""


def list_workers(store: Store) -> list[dict[str, Any]]:
    """Return the live workers, and lost ones that were not cleaned up yet, as JSON objects."""
    jobs = store.workers.current_jobs()
    found = []
    for row in store.workers.list_all():
        job_id = jobs.get(row.name)
        if heartbeat.is_dead(store.worker_dir, row):
            state = "lost"
        elif row.stop:
            state = "stopping"
        else:
            state = "busy" if job_id else "idle"
        started_at = format_time(row.started_at)
        values = (row.name, row.pid, row.host, state, job_id, started_at, row.jobs_done)
        found.append(dict(zip(WORKER_FIELDS, values, strict=True)))
    return found


def served_queues(store: Store) -> dict[str, list[str]]:
    """Return the queues that each worker serves, by its name; empty: all."""
    return {row.name: list(row.queues) for row in store.workers.list_all()}


def read_status(store: Store) -> dict[str, Any]:
    """Return counts by state, paused queues, workers and the estimated time left as JSON object."""
    from queuectl_nb.client.eta import read_eta  # not needed by those who start or stop workers

    return status_with(store, read_eta(store))


def status_with(store: Store, eta: Eta) -> dict[str, Any]:
    """Return the status with an estimate that was read before."""
    return {
        "counts": {str(state): n for state, n in store.reader.counts().items()},
        "paused": store.reader.paused_queues(),
        "workers": list_workers(store),
        "eta_s": eta.to_json(),
    }


def stop_workers(
    store: Store,
    names: Sequence[str],
    *,
    now: bool,
    timeout: float | None,
    on_wait: Callable[[Sequence[str]], None] | None = None,
) -> list[str]:
    """Stop workers (default: all) and return their names; see ``Queue.stop_workers``.

    ``on_wait`` is called once with the remaining names if this takes longer than a second. Does not wait for the
    worker of the job that runs this process.
    """
    live = [worker["name"] for worker in list_workers(store) if worker["state"] != "lost"]
    for each in names:
        if each not in live:
            others = f"{did_you_mean(each, live)}live: {', '.join(live) or 'none'}"
            raise NotFound(f"no live worker {each!a} on {store.path}; {others}")
    chosen = list(dict.fromkeys(names)) or live
    stop_and_wait(store, chosen, now=now, timeout=timeout, on_wait=on_wait)
    if now and (held := _held_by_suspended_supervisors(store, chosen)):
        forced_stop.force_stop(store.path, held)
    return chosen


def _held_by_suspended_supervisors(store: Store, names: Collection[str]) -> list[str]:
    """Return the workers that have ended, but whose supervisor is suspended (SIGSTOP), so that it cannot end."""
    return [
        row.name
        for row in store.workers.list_all()
        if row.name in names
        and row.pid is not None
        and not is_running(store, row, row.pid)
        and is_running(store, row, row.pool)
        and process_tree.is_suspended(row.pool)
    ]


def unrecorded_results(store: Store, names: Iterable[str]) -> int:
    """Return how many results of stopped workers are only in their journals, because the disk was full."""
    unsettled = store.workers.current_jobs()
    return sum(len(read_journal(store.worker_dir, name)) for name in names if name in unsettled)


def stop_and_wait(
    store: Store,
    names: Sequence[str],
    *,
    now: bool,
    timeout: float | None = None,
    on_wait: Callable[[Sequence[str]], None] | None = None,
) -> None:
    """Stop these workers and wait until they have ended; with ``now`` kill them if that takes too long."""
    began = time.monotonic()
    _request_stop(store, names, now=now)
    deadline = None if timeout is None else began + timeout
    force_at = began + forced_stop.read_kill_grace(store) + forced_stop.FORCE_MARGIN_S if now else math.inf
    own_job = enclosing_job(store.path)
    own = {name for name, job_id in store.workers.current_jobs().items() if job_id == own_job}
    supervisors = _find_supervisors(store, set(names) - own)
    left, ended_at = set(names) - own, dict[str, float]()
    while left := _still_running(store, left, ended_at):
        if deadline is not None and time.monotonic() > deadline:
            msg = f"{', '.join(sorted(left))} not stopped after {timeout:g} seconds; they will stop after their job"
            raise WaitTimeout(msg)
        if time.monotonic() > force_at:
            forced_stop.force_stop(store.path, left)
            break
        if on_wait is not None and time.monotonic() > began + _NOTICE_AFTER_S:
            on_wait(sorted(left))
            on_wait = None
        time.sleep(_POLL_INTERVAL_S)
    _await_supervisors(store, supervisors)


def _find_supervisors(store: Store, names: Collection[str]) -> list[psutil.Process]:
    """Return the supervisors of these workers that run on this host."""
    import psutil

    rows = {row.pool: row for row in store.workers.list_all() if row.name in names}
    found = []
    for pid, row in rows.items():
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))  # before the check, so that the pid is not reused afterwards
            if not is_running(store, row, pid):
                found.pop()
    return found


def _await_supervisors(store: Store, supervisors: Collection[psutil.Process]) -> None:
    """Wait until these supervisors have ended, unless they have workers, or are suspended, for example."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < _UNREGISTER_TIMEOUT_S:
        needed = {row.pool for row in store.workers.list_all()}
        if all(each.pid in needed or _has_ended(each, waited) for each in supervisors):
            return
        time.sleep(_POLL_INTERVAL_S)


def _has_ended(process: psutil.Process, waited: float) -> bool:
    """Return True if a process has ended, and is not about to be reaped by process 1, after ``waited`` seconds."""
    import psutil

    if not process_tree.is_zombie(process):
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.ppid() != 1 or waited > _REAP_TIMEOUT_S
    return True


def _request_stop(store: Store, names: Sequence[str], *, now: bool) -> None:
    """Request the stop in the database, or by signals if that cannot be written (``now``: soon)."""
    try:
        if now:
            with forced_stop.second_store(store.path) as second:
                second.workers.request_stop(names, "now")
        else:
            store.workers.request_stop(names, "drain")
    except (BadEnvironment, Busy):
        rows = [row for row in store.workers.list_all() if row.name in names]
        if not forced_stop.signal_workers(store, rows, signal.SIGTERM if now else signal.SIGINT):
            raise
    notify_workers(store, names)


def _still_running(store: Store, names: set[str], ended_at: dict[str, float]) -> set[str]:
    """Return the names of the workers that have not stopped; ``ended_at`` is kept between calls.

    A process that has ended counts although its supervisor, if that does not run, keeps it registered.
    """
    now, running = time.monotonic(), set()
    for row in store.workers.list_all():
        if row.name not in names or heartbeat.is_dead(store.worker_dir, row):
            continue
        if row.pid is None or is_running(store, row, row.pid) or not is_running(store, row, row.pool):
            ended_at.pop(row.name, None)
        if now - ended_at.setdefault(row.name, now) < _UNREGISTER_TIMEOUT_S:
            running.add(row.name)
    return running


EXECUTORS = ("local", "dask")
MAX_WORKERS = 256
MAX_IN_FLIGHT = 5000
"""Maximum number of concurrent jobs of one dispatcher."""
MAX_RESOURCE = 1e9
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z")


def parse_cluster(
    executor: str, *, scheduler: str | None = None, client: Any = None, resources: Mapping[str, Any] | None = None
) -> Cluster | None:
    """Return the dask cluster that the options name; None for the local executor.

    Raises
    ------
    BadInput
        The options conflict, or an address or a resource is invalid.
    BadEnvironment
        dask is not installed.
    """
    if parse_choice("executor", executor, EXECUTORS) == "local":
        for what, value in (("scheduler", scheduler), ("client", client), ("resource", resources)):
            if value:
                raise BadInput(f"{what} needs the executor dask")
        return None
    parsed = dict(_parse_resource(key, value) for key, value in (resources or {}).items())
    require_dask()
    if client is not None and scheduler is not None:
        raise BadInput("give a client or a scheduler address, not both")
    if client is not None:
        address, security = address_of(client)
        return Cluster(address, security, parsed)
    if scheduler is not None and not parse_text("scheduler", scheduler).strip():
        raise BadInput("scheduler is empty; give its address, such as tcp://10.0.0.1:8786")
    return Cluster(scheduler, None, parsed)


def _parse_resource(key: object, value: object) -> tuple[str, float]:
    if isinstance(key, str) and _RESOURCE.match(key):
        return key, parse_number(f"resource {key}", value, 0.0, MAX_RESOURCE)
    raise BadInput(f"resource {quoted(key)} is not valid: a letter first, then letters, digits and . _ -")
