"""The file as a ``sqlite_utils.Database``, for a user's own questions: one a thread, none across a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING

import sqlite_utils

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store

__all__ = ["UserDatabase"]


class UserDatabase(threading.local):
    """What one thread asks by."""

    def __init__(self, store: Store) -> None:
        """Ask the file of ``store``."""
        self._store = store
        self._pid = 0
        self._connections: list[sqlite_utils.Database] = []
        """The connection; what came along through a fork before it: closing that would drop the parent's locks."""

    def database(self) -> sqlite_utils.Database:
        """Return this thread's connection, opened at its first use."""
        if self._pid != os.getpid():
            self._store.db.check_identity()
            there = f"{self._store.path.absolute().as_uri()}?mode=rw"  # a file that is gone is not made anew
            connection = sqlite3.connect(there, uri=True, isolation_level=None, timeout=self._store.db.lock_timeout_s)
            self._connections.append(sqlite_utils.Database(connection))
            self._pid = os.getpid()
        return self._connections[-1]

    def close(self) -> None:
        """Close this thread's connection."""
        if self._pid == os.getpid():
            self._connections.pop().close()
            self._pid = 0
