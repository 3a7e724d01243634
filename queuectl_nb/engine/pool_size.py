"""How many workers a pool has: what the limit of open files allows, and what a running pool is asked for."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.worker_process import WorkerProcess
from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuectl_nb.engine.config import WorkerConfig
    from queuectl_nb.store.store import Store

__all__ = ["RESERVED_FILES", "PoolSize", "count_fitting", "limit_text"]

RESERVED_FILES = 40
"""Open files that a supervisor needs besides those for its workers, and more than a worker needs.

Counted in ``/proc/PID/fd`` with 1, 4 and 12 workers: a supervisor has 14, and 3 more while it starts a worker; a worker
has 21, and up to 26 for moments. The rest is for rescues, which open the files of a lost worker.
"""
FILES_PER_WORKER = 2
"""The lock file and the control pipe."""


def count_fitting(count: int) -> int:
    """Return how many of ``count`` workers the limit of open files allows; raise BadEnvironment if it allows none."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return count
    if limit < RESERVED_FILES + FILES_PER_WORKER:
        needed = RESERVED_FILES + FILES_PER_WORKER
        raise BadEnvironment(f"too few open files: {limit_text()}; it must be {needed} or more")
    return min(count, (limit - RESERVED_FILES) // FILES_PER_WORKER)


def limit_text() -> str:
    """Return the limit of open files for a message."""
    return f"'ulimit -n' is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"


class PoolSize:
    """The size of a running pool, which ``worker scale`` changes."""

    def __init__(self, store: Store, config: WorkerConfig) -> None:
        """Read requests for the pool of this process."""
        self._store = store
        self._config = config
        self._host, self._pid = heartbeat.host_name(), os.getpid()

    def requested(self) -> int | None:
        """Return the number of workers that was requested for the pool; None without a request."""
        pool = self._store.workers.read_pool(self._host, self._pid)
        return None if pool is None else pool.size

    def change(self, size: int, workers: Iterable[WorkerProcess], kill_grace_s: float) -> list[WorkerProcess]:
        """Register the workers that are missing and return them; let those that are too many stop after their job.

        Idle workers are stopped first. If the limit of open files does not allow ``size`` workers, there are fewer.
        """
        active = [each for each in workers if not (each.ended or each.retiring or each.stop)]
        added: list[WorkerProcess] = []
        if (missing := count_fitting(size) - len(active)) > 0:
            added = WorkerProcess.register(self._store, self._config, missing)
        else:
            busy = self._store.workers.current_jobs()
            surplus = sorted(active, key=lambda each: each.name not in busy)[size:]
            self._store.workers.request_stop([each.name for each in surplus], "drain")
            for each in surplus:
                each.request_stop("drain", kill_grace_s)
        self._store.workers.clear_size(self._host, self._pid, size)
        return added
