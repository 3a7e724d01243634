"""The queue's file as a ``sqlite_utils.Database`` for a user's own queries, with a connection per thread."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

import sqlite_utils

from queuectl_nb.store.connection_use import InUse

if TYPE_CHECKING:
    from queuectl_nb.store.connection_pool import ConnectionPool
    from queuectl_nb.store.store import Store

__all__ = ["UserDatabase"]


class UserDatabase(threading.local):
    """Opens and closes the databases of each thread."""

    def __init__(self, store: Store) -> None:
        """Query the file of ``store``."""
        self._store = store
        self._pool = store.db.new_pool(self._connect)
        self._database: _PooledDatabase | None = None

    def _connect(self) -> sqlite3.Connection:
        db = self._store.db
        db.check_files()
        uri = f"{self._store.path.absolute().as_uri()}?mode=rw"  # do not create a file in place of a deleted one
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=db.lock_timeout_s, check_same_thread=False)

    def database(self) -> sqlite_utils.Database:
        """Return this thread's database, opened on first use."""
        if self._database is None:
            with InUse(), self._store.db.translate_errors():
                self._database = _PooledDatabase(self._pool)
        return self._database

    def close(self) -> None:
        """Close this thread's database."""
        self._database = None
        self._pool.close()


class _PooledDatabase(sqlite_utils.Database):
    """A database that takes its connection from a pool at each use: a fork closes the one that was open before."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        super().__init__(pool.get())

    @property
    def conn(self) -> sqlite3.Connection:
        """The connection of the current thread."""
        return self._pool.get()

    @conn.setter
    def conn(self, connection: sqlite3.Connection) -> None:
        """Ignore the connection: it is the pool's."""
