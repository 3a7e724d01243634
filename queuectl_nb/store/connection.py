"""Access to the SQLite file: one connection per thread, write transactions behind the write lock, our own errors."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store import schema
from queuectl_nb.store.paths import check_location, make_private_dir, make_private_file, real_path, spool_dir
from queuectl_nb.store.queries import Q
from queuectl_nb.store.sqlite_errors import PROGRAMMING_ERRORS, translate
from queuectl_nb.store.write_lock import LockRequest, WriteLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

__all__ = ["Database"]

LOCK_TIMEOUT_S = 30.0
NEGLIGIBLE_WAIT_S = 0.1
"""A shorter wait for the write lock is not subtracted from the time to wait for SQLite's own lock."""

_inherited: list[object] = []
"""Connections inherited through a fork. Never closed: that would drop the parent's locks."""


class _ThreadState(threading.local):
    """The connection of each thread, and its open write transaction."""

    connection: sqlite3.Connection | None = None
    writing: _WriteTransaction | None = None


class Database:
    """The database file of a queue. Threads and forked children can share it: each gets its own connection."""

    def __init__(self, path: Path, *, allow_network_fs: bool = False) -> None:
        """Open ``path``; create the file, spool directory and schema if missing.

        Raises :class:`BadEnvironment`, without touching the file, if it is a directory, not a queue, of a newer
        version or another user, or on a file system without reliable locks.
        """
        self.path = path
        self.lock_timeout_s = LOCK_TIMEOUT_S
        self._file = real_path(path)
        self.spool = spool_dir(self._file)
        self.write_lock = WriteLock(self.spool / "write.lock")
        self._local = _ThreadState()
        self._pid = os.getpid()
        local_disk = check_location(path, allow_network_fs=allow_network_fs)
        with self.translate_errors():
            try:
                self._open("wal" if local_disk else "delete")
            except BaseException:
                self.close()  # also removes the files that SQLite has created beside a file that is not a queue
                raise

    def _open(self, journal_mode: str) -> None:
        make_private_file(self._file)
        found = os.stat(self._file)
        self._identity = found.st_dev, found.st_ino
        connection = self.connection()
        if not schema.is_current(connection):
            schema.check_application(connection, self.path)
        make_private_dir(self.spool)
        schema.ensure_schema(connection, self.path, journal_mode, lambda: self.write_lock.request(self.lock_timeout_s))

    # ------------------------------------------------------------------ connections

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opened on first use in this process."""
        if self._pid != os.getpid():
            _inherited.append(self._local)
            self._local = _ThreadState()
            self._pid = os.getpid()
        found = self._local.connection
        if found is None:
            self.check_identity()  # SQLite would create an empty file in place of a deleted one
            found = self._local.connection = self._connect()
        return found

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, timeout=self.lock_timeout_s)
        # FULL: an acknowledged enqueue survives power loss (NORMAL lost up to 831 rows in a crash image)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -2000")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

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
        self.connection().execute("PRAGMA cache_size = -1000")
        sqlite3.register_adapter(type(None), {None: None}.get)

    def close(self) -> None:
        """Close this thread's connection."""
        found = self._local.connection
        if found is not None and self._pid == os.getpid():
            found.close()
            self._local.connection = None

    # ------------------------------------------------------------------ file identity

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file that was opened."""
        return self._identity

    def check_identity(self) -> None:
        """Raise if the file was deleted or replaced: writes to it would be lost. Every transaction begins with this."""
        try:
            found = os.stat(self._file)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            msg = f"the queue {self.path} was deleted or replaced while in use; open it again"
            raise BadEnvironment(msg)

    def is_replaced(self) -> bool:
        """Return True if the file was deleted or replaced since it was opened."""
        try:
            self.check_identity()
        except BadEnvironment:
            return True
        return False

    # ------------------------------------------------------------------ transactions

    def write(self) -> _WriteTransaction:
        """Return a write transaction as a context manager: commits at the end, rolls back on any error.

        It holds the write lock and has a revision of its own, which statements read from ``clock``. It does not nest.
        """
        return _WriteTransaction(self, self._local)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection in a read transaction: all statements see one snapshot."""
        with self.translate_errors():
            connection = self.connection()
            if connection.in_transaction:
                if self._local.writing is not None:
                    yield connection
                    return
                connection.execute("COMMIT")  # left by an interrupt: it would keep an old snapshot
            self.check_identity()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    # ------------------------------------------------------------------ changes

    def data_version(self) -> int:
        """Return a number that changes whenever another connection commits (3 µs)."""
        self.check_identity()
        try:
            version: int = self.connection().execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            raise translate(error, self.path, self.lock_timeout_s) from error
        return version

    def change_counters(self) -> tuple[int, int]:
        """Return two numbers of which one changes with every commit, also of this thread's own connection."""
        return self.data_version(), self.connection().total_changes

    def revision(self) -> tuple[int, int]:
        """Return the revision of the queue and its number of deletions; both unchanged: no job has changed."""
        with self.read() as connection:
            found: tuple[int, int] = connection.execute(Q.revision).fetchone()
            return found

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise SQLite's errors as ours."""
        try:
            yield
        except PROGRAMMING_ERRORS:
            raise
        except sqlite3.Error as error:
            raise translate(error, self.path, self.lock_timeout_s) from error


class _WriteTransaction:
    """A write transaction; an interrupt at any point leaves neither an open transaction nor the lock behind."""

    def __init__(self, db: Database, local: _ThreadState) -> None:
        self._db = db
        self._local = local
        self._lock = LockRequest(db.write_lock.path)
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> sqlite3.Connection:
        db = self._db
        try:
            connection = db.connection()
            self._local = db._local  # noqa: SLF001 - a fork replaces it
            self._clear_interrupted(connection)
            self._local.writing = self
            began = time.monotonic()
            self._lock.acquire(db.lock_timeout_s)
            self._connection = connection
            db.check_identity()
            waited = time.monotonic() - began
            if waited > NEGLIGIBLE_WAIT_S:  # the timeout covers both locks
                connection.execute(f"PRAGMA busy_timeout = {max(0, round((db.lock_timeout_s - waited) * 1000))}")
            try:
                connection.execute("BEGIN IMMEDIATE")
            finally:
                if waited > NEGLIGIBLE_WAIT_S:
                    connection.execute(f"PRAGMA busy_timeout = {round(db.lock_timeout_s * 1000)}")
            connection.execute("UPDATE clock SET rev = rev + 1")
        except BaseException as error:
            self._end(commit=False)
            if isinstance(error, sqlite3.Error) and not isinstance(error, PROGRAMMING_ERRORS):
                raise translate(error, db.path, db.lock_timeout_s) from error
            raise
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._db.translate_errors():
            self._end(commit=error is None)
        if isinstance(error, sqlite3.Error) and not isinstance(error, PROGRAMMING_ERRORS):
            raise translate(error, self._db.path, self._db.lock_timeout_s) from error

    def _clear_interrupted(self, connection: sqlite3.Connection) -> None:
        """End a transaction of this thread that an interrupt has left open."""
        if self._local.writing is not None:
            self._local.writing._end(commit=False)  # noqa: SLF001 - the same class
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def _end(self, *, commit: bool) -> None:
        connection = self._connection
        try:
            if connection is not None:
                try:
                    if commit:
                        connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        finally:
            self._lock.release()
            if self._local.writing is self:
                self._local.writing = None
