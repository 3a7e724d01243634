"""List and stop the workers of a queue, and parse the executor options."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.job_actions import notify_workers
from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.dask.cluster import Cluster, address_of, require_dask
from queuectl_nb.model.errors import BadInput, NotFound, WaitTimeout
from queuectl_nb.model.validation import format_time, parse_choice, parse_number, parse_text, quoted
from queuectl_nb.render.json_shapes import WORKER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.store.store import Store

__all__ = ["EXECUTORS", "MAX_IN_FLIGHT", "list_workers", "parse_cluster", "stop_workers"]

_POLL_INTERVAL_S = 0.05
"""Interval at which stopping workers are checked."""
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
        values = (row.name, row.pid, row.host, state, job_id, format_time(row.started_at), row.jobs_done)
        found.append(dict(zip(WORKER_FIELDS, values, strict=True)))
    return found


def stop_workers(
    store: Store,
    names: Sequence[str],
    *,
    now: bool,
    timeout: float | None,
    on_wait: Callable[[Sequence[str]], None] | None = None,
) -> list[str]:
    """Stop workers (default: all) and return their names; see ``Queue.stop_workers``.

    ``on_wait`` is called once with the remaining names if this takes longer than a second.
    """
    live = [worker["name"] for worker in list_workers(store) if worker["state"] != "lost"]
    for each in names:
        if each not in live:
            msg = f"no live worker {each!a}; live: {', '.join(live) or 'none'}"
            raise NotFound(msg)
    chosen = list(dict.fromkeys(names)) or live
    store.workers.request_stop(chosen, "now" if now else "drain")
    notify_workers(store, chosen)
    began = time.monotonic()
    deadline = None if timeout is None else began + timeout
    left = set(chosen)
    while left:
        left &= {row.name for row in store.workers.list_all() if not heartbeat.is_dead(store.worker_dir, row)}
        if left and deadline is not None and time.monotonic() > deadline:
            msg = f"{', '.join(sorted(left))} not stopped after {timeout:g} seconds; they will stop after their job"
            raise WaitTimeout(msg)
        if left and on_wait is not None and time.monotonic() > began + _NOTICE_AFTER_S:
            on_wait(sorted(left))
            on_wait = None
        if left:
            time.sleep(_POLL_INTERVAL_S)
    return chosen


EXECUTORS = ("local", "dask")
MAX_IN_FLIGHT = 5000
"""Maximum number of concurrent jobs of one dispatcher."""
MAX_RESOURCE = 1e9
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z")


def parse_cluster(
    executor: str,
    *,
    scheduler: str | None = None,
    client: Any = None,
    resources: Mapping[str, Any] | None = None,
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
                msg = f"{what} needs --executor dask"
                raise BadInput(msg)
        return None
    parsed = dict(_parse_resource(key, value) for key, value in (resources or {}).items())
    require_dask()
    if client is not None and scheduler is not None:
        msg = "give a client or a scheduler address, not both"
        raise BadInput(msg)
    if client is not None:
        address, security = address_of(client)
        return Cluster(address, security, parsed)
    if scheduler is not None and not parse_text("scheduler", scheduler).strip():
        msg = "scheduler is empty; give its address, such as tcp://10.0.0.1:8786"
        raise BadInput(msg)
    return Cluster(scheduler, None, parsed)


def _parse_resource(key: object, value: object) -> tuple[str, float]:
    if isinstance(key, str) and _RESOURCE.match(key):
        return key, parse_number(f"resource {key}", value, 0.0, MAX_RESOURCE)
    msg = f"resource {quoted(key)} is not valid: a letter first, then letters, digits and . _ -"
    raise BadInput(msg)
