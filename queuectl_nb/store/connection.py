"""Access to the SQLite file: one connection per thread, write transactions behind the write lock, our own errors."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.store import schema
from queuectl_nb.store.connection_pool import ConnectionPool, close_outdated
from queuectl_nb.store.connection_use import InUse
from queuectl_nb.store.paths import LOCK_NAME, real_path, spool_dir
from queuectl_nb.store.queries import Q
from queuectl_nb.store.queue_files import check_location, check_neighbours, make_private_dir, make_private_file
from queuectl_nb.store.shared_locks import SharedLocks, wait_for_sidecars
from queuectl_nb.store.sqlite_errors import PROGRAMMING_ERRORS, translate
from queuectl_nb.store.transaction import Transaction, end_left_open
from queuectl_nb.store.write_lock import BUSY_HERE, LockRequest, WriteLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Database"]

LOCK_TIMEOUT_S = 30.0


class Database:
    """The database file of a queue. Threads and forked children can share it: each gets its own connection."""

    def __init__(self, path: Path, *, allow_network_fs: bool) -> None:
        """Open ``path``; create the file, spool directory and schema if missing.

        Raises :class:`BadEnvironment`, without touching the file, if it is a directory, not a queue, of a newer
        version or another user, or on a file system without reliable locks.
        """
        self.path = path
        self.lock_timeout_s = LOCK_TIMEOUT_S
        self.lock_waited_s = 0.0
        """Time for which the last write transaction waited for the write lock."""
        self._cache_kib = 2000
        self.file = real_path(path)
        self.spool = spool_dir(self.file)
        self.output_dir = self.spool / "output"
        self.worker_dir = self.spool / "worker"
        self.write_lock = WriteLock(self.spool / LOCK_NAME, self.make_directories)
        local_disk = check_location(path, allow_network_fs=allow_network_fs)
        with InUse(), self.translate_errors():
            self._open(wal=local_disk)

    def _open(self, *, wal: bool) -> None:
        make_private_file(self.file)
        found = os.stat(self.file)
        self.identity = found.st_dev, found.st_ino
        """Device and inode of the file that was opened."""
        close_outdated(self.identity)
        self.connections = ConnectionPool(str(self.file), self.identity, self._connect)
        self.connection = self.connections.get
        """Returns this thread's connection, opened on first use in this process."""
        try:
            self._open_schema(wal=wal)
        except BaseException:
            self.close()  # also removes the files that SQLite has created beside a file that is not a queue
            raise

    def _open_schema(self, *, wal: bool) -> None:
        connection = self.connection()
        journal = "wal" if wal else "delete"
        is_current = schema.is_current(connection, journal)
        if not is_current:
            schema.check_application(connection, self.path)
        self.make_directories()
        if not is_current:
            with self.write_lock.request(self.lock_timeout_s):
                schema.ensure_schema(connection, self.path, journal)
        if wal:
            self.connections.protect()

    def make_directories(self) -> None:
        """Create the directories of the spool that are missing."""
        self.check_identity()
        for folder in (self.spool, self.output_dir, self.worker_dir):
            make_private_dir(folder)

    # ------------------------------------------------------------------ connections

    def _connect(self) -> sqlite3.Connection:
        self.check_files()
        connection = sqlite3.connect(
            self.file,
            isolation_level=None,
            timeout=self.lock_timeout_s,
            check_same_thread=False,  # a fork closes the connections of all threads
        )
        try:
            # FULL: an acknowledged enqueue survives power loss (NORMAL lost up to 831 rows in a crash image)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{self._cache_kib}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.create_function("python_repr", 1, repr, deterministic=True)
        except BaseException:  # not a database, for example
            connection.close()
            raise
        return connection

    def new_pool(self, connect: Callable[[], sqlite3.Connection]) -> ConnectionPool:
        """Return a pool of further connections to the file, which are opened by ``connect``."""
        pool = ConnectionPool(str(self.file), self.identity, connect)
        if self.connections.is_protected:
            pool.protect()
        return pool

    def set_lock_timeout(self, seconds: float) -> None:
        """Wait at most this long for other writers."""
        self.lock_timeout_s = seconds
        self.connection().execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def tune_for_worker(self) -> None:
        """Tune this process's connections for a worker.

        A smaller cache: a worker touches the same few pages, and its memory use should level off soon. And an adapter
        that maps None to itself: without it, sqlite3 looks for one twice for each None that is bound, which costs as
        much as writing a short row.
        """
        self._cache_kib = 1000
        self.connection().execute(f"PRAGMA cache_size = -{self._cache_kib}")
        sqlite3.register_adapter(type(None), {None: None}.get)

    def close(self) -> None:
        """Close this thread's connection; raise :class:`Busy` in the middle of a call that uses it."""
        if end_left_open(self.connections.thread_state):
            raise Busy(BUSY_HERE.format(f"queue {self.path}"))
        self.connections.close()

    # ------------------------------------------------------------------ file identity

    def check_identity(self) -> None:
        """Raise if the file or its log was deleted or replaced: writes would be lost. Transactions begin with this."""
        try:
            found = os.stat(self.file)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self.identity:
            raise BadEnvironment(f"the queue {self.path} was deleted or replaced while in use; open it again")
        if not found.st_size and self.connections.is_protected:
            raise BadEnvironment(f"the queue {self.path} was emptied while in use; restore a backup")
        SharedLocks.check(self.identity)

    def check_files(self) -> None:
        """Raise if SQLite must not open the file: it was replaced, or somebody else has put files beside it.

        SQLite would create an empty file in place of a deleted one.
        """
        self.check_identity()
        check_neighbours(self.file)
        wait_for_sidecars(str(self.file), self.identity)

    def is_replaced(self) -> bool:
        """Return True if the file or its log was deleted or replaced since it was opened."""
        try:
            self.check_identity()
        except BadEnvironment:
            return True
        return False

    # ------------------------------------------------------------------ transactions

    def write(self) -> Transaction:
        """Return a write transaction as a context manager: commits at the end, rolls back on any error.

        It holds the write lock and has a revision of its own, which statements read from ``clock``. It does not nest.
        """
        return Transaction(self, LockRequest(self.write_lock))

    def exclusive(self) -> Transaction:
        """Return a context manager that holds the write lock; each statement within is a transaction of its own."""
        return Transaction(self, LockRequest(self.write_lock), begin=False)

    def read(self) -> Transaction:
        """Return a read transaction as a context manager: all statements see one snapshot.

        Within a write transaction of this thread it is part of that.
        """
        return Transaction(self, None)

    def query(self, sql: str, values: Mapping[str, object] | Sequence[object] = ()) -> list[Any]:
        """Return the rows of a statement, in a read transaction of its own or as part of that of this thread."""
        with self.read() as connection:
            return connection.execute(sql, values).fetchall()

    # ------------------------------------------------------------------ changes

    def data_version(self) -> int:
        """Return a number that changes whenever another connection commits (3 µs)."""
        self.check_identity()
        with InUse(), self.translate_errors():
            version: int = self.connection().execute("PRAGMA data_version").fetchone()[0]
            return version

    def change_counters(self) -> tuple[int, ...]:
        """Return numbers of which one changes with every commit, also of this thread's own connection."""
        return self.connections.thread_state.number, self.data_version(), self.connection().total_changes

    def revision(self) -> tuple[int, int]:
        """Return the revision of the queue and its number of deletions; both unchanged: no job has changed."""
        found: tuple[int, int] = self.query(Q.revision)[0]
        return found

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise errors of SQLite as errors of this package."""
        try:
            yield
        except sqlite3.Error as error:
            self.raise_translated(error)

    def raise_translated(self, error: sqlite3.Error) -> NoReturn:
        """Raise an error of SQLite as one of this package; one that only a bug can cause, as it is."""
        if isinstance(error, PROGRAMMING_ERRORS):
            raise error
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:  # raised in a callback, which hides it
            raise KeyboardInterrupt from error
        raise translate(error, self.path, self.lock_timeout_s) from error
