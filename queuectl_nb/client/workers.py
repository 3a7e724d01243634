"""The workers on a queue, whoever started them: who is there, and asking them to stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.bells import notify_workers
from queuectl_nb.engine import heartbeat
from queuectl_nb.model.errors import NotFound, WaitTimeout
from queuectl_nb.model.validation import format_time
from queuectl_nb.render.json_shapes import WORKER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.store.store import Store

__all__ = ["list_workers", "stop_workers"]

_POLL_INTERVAL_S = 0.05
"""Seconds between looks at workers that are ending."""
_NOTICE_AFTER_S = 1.0
"""Seconds of a wait after which a person wants to know what for."""


def list_workers(store: Store) -> list[dict[str, Any]]:
    """Return the workers that live, and those lost and not yet cleaned up, in the contract's shape."""
    jobs = store.workers.current_jobs()
    found = []
    for row in store.workers.list_all():
        job_id = jobs.get(row.name)
        if heartbeat.is_dead(store.worker_dir, row.name):
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
    """Ask workers (all, without names) to stop, wait, and return those that ended; see ``Queue.stop_workers``.

    ``lasts`` is told once whom the wait is for, where it takes longer than a moment.
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
        left &= {row.name for row in store.workers.list_all()}
        left = {each for each in left if not heartbeat.is_dead(store.worker_dir, each)}
        if left and deadline is not None and time.monotonic() > deadline:
            msg = f"{', '.join(sorted(left))} not ended after {timeout:g} seconds; they end with their job"
            raise WaitTimeout(msg)
        if left and on_wait is not None and time.monotonic() > began + _NOTICE_AFTER_S:
            on_wait(sorted(left))
            on_wait = None
        if left:
            time.sleep(_POLL_INTERVAL_S)
    return chosen
