"""The register of workers: who runs, under which name, and who was asked to stop."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.store.connection import Database

__all__ = ["WorkerRow", "Workers"]


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A registered worker."""

    name: str
    pid: int | None
    host: str
    pool: int
    queues: tuple[str, ...]
    started_at: float
    jobs_done: int
    stop: str | None


class Workers:
    """The ``workers`` table."""

    def __init__(self, db: Database) -> None:
        """Work on ``db``."""
        self.db = db

    def register(
        self, acquire_lock: Callable[[str], bool], *, pool: int, host: str, queues: Sequence[str], now: float
    ) -> str:
        """Register a worker under the lowest free ``worker-N`` and return that name.

        ``hold(name)`` must take the name's lock, and tell whether it did: the lock is held before the row can be
        seen, so that nobody takes the new worker for a dead one.
        """
        with self.db.write() as connection:
            taken = {row[0] for row in connection.execute(Q.worker_rows)}
            # a name whose jobs are still to be rescued is not free
            taken |= {name for (name,) in connection.execute(Q.orphaned_jobs)}
            number = 1
            while (name := f"worker-{number}") in taken or not acquire_lock(name):
                number += 1
            connection.execute(
                Q.add_worker,
                {
                    "name": name,
                    "pid": None,
                    "host": host,
                    "pool": pool,
                    "queues": json.dumps(list(queues)),
                    "now": now,
                },
            )
        return name

    def mark_running(self, pids: Mapping[str, int], now: float) -> None:
        """Record that workers run from now on, by name the pids of their processes."""
        with self.db.write() as connection:
            connection.executemany(
                Q.worker_is_running, [{"name": name, "pid": pid, "now": now} for name, pid in pids.items()]
            )

    def remove(self, name: str) -> None:
        """Take the worker off the register."""
        with self.db.write() as connection:
            connection.execute(Q.remove_worker, {"name": name})

    def list_all(self) -> list[WorkerRow]:
        """Return the registered workers, ``worker-2`` before ``worker-10``."""
        with self.db.read() as connection:
            found = [
                WorkerRow(*(*row[:4], tuple(json.loads(row[4])), *row[5:])) for row in connection.execute(Q.worker_rows)
            ]
        return sorted(found, key=lambda row: (len(row.name), row.name))

    def current_jobs(self) -> dict[str, str]:
        """Return the job id that each worker runs, by worker name: of several claimed, the one claimed first."""
        with self.db.read() as connection:
            return dict(connection.execute(Q.current_jobs).fetchall())

    def orphaned_workers(self) -> list[str]:
        """Return names that hold jobs and are on no register."""
        with self.db.read() as connection:
            return [name for (name,) in connection.execute(Q.orphaned_jobs)]

    def request_stop(self, names: Sequence[str], how: str) -> None:
        """Ask the workers to stop: ``drain`` finishes the running job, ``now`` gives it back."""
        with self.db.write() as connection:
            connection.executemany(Q.ask_to_stop, [{"name": name, "how": how} for name in names])

    def stop_request(self, name: str) -> str | None:
        """Return how the worker was asked to stop; ``now`` too when its row is gone, None when it was not asked."""
        with self.db.read() as connection:
            row = connection.execute(Q.stop_of_worker, {"name": name}).fetchone()
        return row[0] if row else "now"
