"""Registered workers, and the stop requests for them."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.store.boot_time import record_boot
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.store.connection import Database

__all__ = ["PoolRow", "WorkerRow", "Workers"]


class WorkerRow(NamedTuple):
    """A registered worker."""

    name: str
    pid: int | None
    host: str
    pool: int
    queues: tuple[str, ...]
    started_at: float
    jobs_done: int
    stop: str | None


class PoolRow(NamedTuple):
    """The executor of a pool, and the number of workers that its supervisor has yet to reach; None: nothing to do."""

    executor: str
    size: int | None


class Workers:
    """The ``workers`` table."""

    def __init__(self, db: Database) -> None:
        """Work on ``db``."""
        self.db = db

    def register(
        self,
        acquire_lock: Callable[[str], bool],
        *,
        count: int = 1,
        pool: int,
        host: str,
        queues: Sequence[str],
        now: float,
        boot: str = "",
        executor: str = "local",
    ) -> list[str]:
        """Register ``count`` workers under the lowest free ``worker-N`` and return these names.

        ``acquire_lock(name)`` must lock the name and return whether it could. The lock is held before the row is
        visible, so that the new worker is never taken for a dead one. ``boot`` identifies the boot, where known.
        """
        names: list[str] = []
        with self.db.write() as connection:
            if boot:
                record_boot(connection, boot)
            taken = {row[0] for row in connection.execute(Q.worker_rows)}
            # a name with jobs that a rescuer has yet to settle is not free
            taken |= {name for (name,) in connection.execute(Q.orphaned_jobs)}
            for number in itertools.count(1):
                if len(names) == count:
                    break
                if (name := f"worker-{number}") not in taken and acquire_lock(name):
                    names.append(name)
            row = {"host": host, "pool": pool, "queues": json.dumps(list(queues)), "now": now}
            connection.execute(Q.add_pool, {"host": host, "pool": pool, "executor": executor})
            connection.executemany(Q.add_worker, [{**row, "name": name} for name in names])
        return names

    def mark_running(self, pids: Mapping[str, int], now: float) -> None:
        """Record that workers have started; ``pids`` are their process ids by name."""
        with self.db.write() as connection:
            rows = [{"name": name, "pid": pid, "now": now} for name, pid in pids.items()]
            connection.executemany(Q.worker_is_running, rows)

    def remove(self, name: str, remove_files: Callable[[bool], None] = lambda _last: None) -> None:
        """Unregister a worker.

        ``remove_files(last)`` is called before anybody can register a worker under this name; ``last`` says whether
        no worker is registered any more.
        """
        with self.db.write() as connection:
            connection.execute(Q.remove_worker, {"name": name})
            remove_files(connection.execute(Q.any_worker).fetchone() is None)

    def list_all(self) -> list[WorkerRow]:
        """Return the registered workers, ``worker-2`` before ``worker-10``."""
        found = [WorkerRow(*(*row[:4], tuple(json.loads(row[4])), *row[5:])) for row in self.db.query(Q.worker_rows)]
        return sorted(found, key=lambda row: (len(row.name), row.name))

    def current_jobs(self) -> dict[str, str]:
        """Return the id of each worker's current job, by worker name; of several claimed, the first."""
        return dict(self.db.query(Q.current_jobs))

    def orphaned_workers(self) -> list[str]:
        """Return the names of unregistered workers that hold jobs."""
        return [name for (name,) in self.db.query(Q.orphaned_jobs)]

    def request_stop(self, names: Sequence[str], how: str) -> None:
        """Request workers to stop: ``drain`` finishes the running job, ``now`` returns it."""
        with self.db.write() as connection:
            connection.executemany(Q.request_stop, [{"name": name, "how": how} for name in names])

    def read_inputs(self, name: str) -> tuple[str | None, tuple[tuple[str, bytes], ...], int]:
        """Return how the worker was asked to stop, the stored settings, and the number of workers.

        The first is None if it was not asked, and ``now`` if it is not registered.
        """
        with self.db.read() as connection:
            stop = connection.execute(Q.stop_of_worker, {"name": name}).fetchone()
            stored = tuple(connection.execute(Q.all_settings))
            workers: int = connection.execute(Q.count_workers).fetchone()[0]
            return "now" if stop is None else stop[0], stored, workers

    def read_pool(self, host: str, pid: int) -> PoolRow | None:
        """Return the pool of a supervisor; None if it has no workers."""
        rows = self.db.query(Q.pool, {"host": host, "pool": pid})
        return PoolRow(*rows[0]) if rows else None

    def request_size(self, host: str, pid: int, size: int | None) -> None:
        """Ask a supervisor for ``size`` workers; None takes the request back."""
        with self.db.write() as connection:
            connection.execute(Q.request_size, {"host": host, "pool": pid, "size": size})

    def clear_size(self, host: str, pid: int, size: int) -> None:
        """Mark the request for ``size`` workers as done, unless another one has replaced it."""
        with self.db.write() as connection:
            connection.execute(Q.clear_size, {"host": host, "pool": pid, "size": size})
