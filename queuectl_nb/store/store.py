"""Access to everything that a queue stores: the tables of its database and its spool."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from queuectl_nb.store.connection import Database
from queuectl_nb.store.identity import detect_copy
from queuectl_nb.store.queries import Q
from queuectl_nb.store.settings import SettingsTable
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.store.jobs import Jobs
    from queuectl_nb.store.reader import Reader
    from queuectl_nb.store.workers import Workers

__all__ = ["Store"]


class Store:
    """An open queue: database and spool. One per process; threads and forks can share it."""

    run_inline: Callable[[], object] | None = None
    """Runs the jobs that are due, where there are no workers (``queuectl_nb.testing``)."""

    def __init__(self, path: Path, *, allow_network_fs: bool = False) -> None:
        """Open the queue at ``path``; raises what :class:`Database` raises."""
        self.path = path
        self.db = Database(path, allow_network_fs=allow_network_fs)
        self.settings = SettingsTable(self.db)
        self.worker_dir = self.db.worker_dir
        self.spool = Spool(self.db.output_dir)
        detect_copy(self.db)

    def read_waiting(self) -> tuple[dict[str, int], set[str], list[tuple[str, int, int]]]:
        """Return the queues with pending, failed or running jobs, the paused ones (``"*"``: all), and all limits.

        The value of a queue is its number of pending and failed jobs; a limit is queue, limit, running jobs. Fast
        enough for every enqueue.
        """
        with self.db.read() as connection:
            paused = {name for (name,) in connection.execute(Q.paused)}
            return dict(connection.execute(Q.waiting_jobs)), paused, connection.execute(Q.limits).fetchall()

    @cached_property
    def jobs(self) -> Jobs:
        """Operations on existing jobs; not loaded by an enqueue."""
        from queuectl_nb.store.jobs import Jobs

        return Jobs(self.db)

    @cached_property
    def workers(self) -> Workers:
        """The registered workers; not loaded by an enqueue."""
        from queuectl_nb.store.workers import Workers

        return Workers(self.db)

    @cached_property
    def reader(self) -> Reader:
        """Read-only queries; not loaded by a worker."""
        from queuectl_nb.store.reader import Reader

        return Reader(self.db)
