"""The queue as a ``sqlite_utils.Database`` for user queries; one connection per thread and process."""

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
    """The connection of one thread."""

    def __init__(self, store: Store) -> None:
        """Connect to the file of ``store``."""
        self._store = store
        self._pid = 0
        self._connections: list[sqlite_utils.Database] = []
        """The last one is in use; those inherited by a fork stay open, since closing them drops locks of the parent."""

    def database(self) -> sqlite_utils.Database:
        """Return the connection of this thread; open it at the first call."""
        if self._pid != os.getpid():
            self._store.db.check_identity()
            there = f"{self._store.path.absolute().as_uri()}?mode=rw"  # do not create a deleted file again
            connection = sqlite3.connect(there, uri=True, isolation_level=None, timeout=self._store.db.lock_timeout_s)
            self._connections.append(sqlite_utils.Database(connection))
            self._pid = os.getpid()
        return self._connections[-1]

    def close(self) -> None:
        """Close the connection of this thread."""
        if self._pid == os.getpid():
            self._connections.pop().close()
            self._pid = 0
