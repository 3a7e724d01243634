"""The store as one thing: the file's tables and the spool beside it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from queuectl_nb.store.connection import Database
from queuectl_nb.store.paths import make_private_dir
from queuectl_nb.store.settings import SettingsTable
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.store.dead_letters import DeadLetters
    from queuectl_nb.store.jobs import Jobs
    from queuectl_nb.store.reader import Reader
    from queuectl_nb.store.workers import Workers

__all__ = ["Store"]


class Store:
    """A queue's file and spool, opened. Made once a process; threads and forks share it safely."""

    def __init__(self, path: Path, *, allow_network_fs: bool = False) -> None:
        """Open the queue at ``path``; raises what :class:`Database` raises."""
        self.path = path
        self.db = Database(path, allow_network_fs=allow_network_fs)
        self.settings = SettingsTable(self.db)
        self.worker_dir = self.db.spool / "worker"
        output = self.db.spool / "output"
        make_private_dir(output)
        make_private_dir(self.worker_dir)
        self.spool = Spool(output)

    @cached_property
    def jobs(self) -> Jobs:
        """What people do to jobs that are there; an enqueue never loads it."""
        from queuectl_nb.store.jobs import Jobs

        return Jobs(self.db)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """The dead letter queue as a whole."""
        from queuectl_nb.store.dead_letters import DeadLetters

        return DeadLetters(self.db)

    @cached_property
    def workers(self) -> Workers:
        """The register of workers; an enqueue never loads it."""
        from queuectl_nb.store.workers import Workers

        return Workers(self.db)

    @cached_property
    def reader(self) -> Reader:
        """The looking side; a worker never loads it."""
        from queuectl_nb.store.reader import Reader

        return Reader(self.db)
