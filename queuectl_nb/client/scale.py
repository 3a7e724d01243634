"""Change the number of workers of a running pool."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.client.hints import db_option
from queuectl_nb.client.workers import MAX_WORKERS
from queuectl_nb.engine import heartbeat
from queuectl_nb.model.errors import BadEnvironment, BadInput, NotFound, WrongState
from queuectl_nb.model.validation import parse_int

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.store.store import Store

__all__ = ["Pool", "find_pool", "parse_size", "scale_pool"]

_TIMEOUT_S = 30.0
"""Time after which a supervisor that does not respond is reported. It looks for requests every second."""
_POLL_INTERVAL_S = 0.05


class Pool(NamedTuple):
    """A supervisor, and the names of its workers that are not stopping."""

    host: str
    pid: int
    workers: tuple[str, ...]


def parse_size(size: object) -> int:
    """Return the number of workers that a pool is to have."""
    if size in (0, "0"):
        error = BadInput("a pool has at least one worker; stop all with stop_workers()")
        raise error.with_option("stop_workers()", "'queuectl worker stop'")
    return parse_int("the number of workers", size, 1, MAX_WORKERS)


def find_pool(store: Store, worker: str | None) -> Pool:
    """Return the pool of a worker; without one, the only pool.

    Raises ``NotFound`` if there is none, and ``BadInput`` if there are several.
    """
    pools = _running_pools(store)
    if worker is not None:
        for pool in pools:
            if worker in pool.workers:
                return pool
        names = ", ".join(name for pool in pools for name in pool.workers) or "none"
        raise NotFound(f"no worker {worker!a} that could be scaled on {store.path}; running: {names}")
    if not pools:
        start = f"queuectl worker start{db_option(store)}"
        raise NotFound(f"no workers are running on {store.path}; start some with '{start}'")
    if len(pools) > 1:
        choice = " or ".join(f"{pool.workers[0]} ({len(pool.workers)} workers)" for pool in pools)
        msg = f"{len(pools)} pools are running, with {choice}; give one of the workers as pool"
        raise BadInput(msg).with_option("pool", "--pool")
    return pools[0]


def _running_pools(store: Store) -> list[Pool]:
    """Return the pools that have workers which are not lost and not stopping."""
    pools: dict[tuple[str, int], list[str]] = {}
    for row in store.workers.list_all():
        if row.stop is None and not heartbeat.is_dead(store.worker_dir, row):
            pools.setdefault((row.host, row.pool), []).append(row.name)
    return [Pool(host, pid, tuple(names)) for (host, pid), names in pools.items()]


def scale_pool(store: Store, pool: Pool, size: object, notify: Callable[[], None] = lambda: None) -> list[str]:
    """Start or stop workers until the pool has ``size`` of them, and return the names of those it has.

    Surplus workers finish their job first; this does not wait for them. ``notify`` wakes the supervisor.

    Raises
    ------
    WrongState
        The pool runs on dask, or has ended meanwhile.
    BadEnvironment
        The supervisor does not respond, or fewer workers could be started.
    """
    number = parse_size(size)
    found = store.workers.read_pool(pool.host, pool.pid)
    if found is not None and found.executor == "dask":
        msg = f"{pool.workers[0]} is a dispatcher; scale the dask cluster, or start it again with another count"
        raise WrongState(msg)
    store.workers.request_size(pool.host, pool.pid, number)
    notify()
    deadline = time.monotonic() + _TIMEOUT_S
    while (found := store.workers.read_pool(pool.host, pool.pid)) is not None and found.size == number:
        if time.monotonic() > deadline:
            store.workers.request_size(pool.host, pool.pid, None)
            msg = f"the supervisor (pid {pool.pid} on {pool.host}) did not respond in {_TIMEOUT_S:g} seconds"
            raise BadEnvironment(msg)
        time.sleep(_POLL_INTERVAL_S)
    names = [name for each in _running_pools(store) if each[:2] == pool[:2] for name in each.workers]
    if found is None or not names:
        raise WrongState(f"the pool of {pool.workers[0]} has ended")
    if found.size is None and len(names) < number:
        raise BadEnvironment(f"only {len(names)} of {number} workers fit; raise 'ulimit -n' where they were started")
    return names
