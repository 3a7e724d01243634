"""One SQLite file: a connection a thread, the pragmas, write transactions through the gate, errors in our words."""

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
from queuectl_nb.store.sqlite_errors import PROGRAMMING_ERRORS, translate
from queuectl_nb.store.write_lock import LockRequest, WriteLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

__all__ = ["Database"]

LOCK_TIMEOUT_S = 30.0
"""Seconds a writer waits for the others before it is told that the queue is busy."""
NEGLIGIBLE_WAIT_S = 0.1
"""Seconds of waiting at the gate that need not be taken off the wait that may follow for SQLite's own lock."""

_inherited: list[object] = []
"""Connections that a fork carried over: closing them here would drop the parent's locks, so they are never closed."""


class _ThreadState(threading.local):
    """What each thread has of its own."""

    connection: sqlite3.Connection | None = None
    writing: _WriteTransaction | None = None


class Database:
    """The queue's file. Safe to share between threads and to carry through a fork: each gets its own connection."""

    def __init__(self, path: Path, *, allow_network_fs: bool = False) -> None:
        """Open ``path``, making file, spool directory and schema where they are missing.

        Raises :class:`BadEnvironment` for a folder, a file that is no queue or a newer one or somebody else's, a
        file system that cannot lock; the file is not touched then.
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
                self.close()  # and with it what SQLite made beside a file that is not for us
                raise

    def _open(self, journal: str) -> None:
        make_private_file(self._file)
        self._identity = self._stat()
        connection = self.connection()
        if not schema.is_current(connection):
            schema.check_application(connection, self.path)
        make_private_dir(self.spool)
        schema.ensure_schema(connection, self.path, journal, lambda: self.write_lock.request(self.lock_timeout_s))

    def _stat(self) -> tuple[int, int]:
        found = os.stat(self._file)
        return found.st_dev, found.st_ino

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opened at its first use in this process."""
        if self._pid != os.getpid():
            _inherited.append(self._local)
            self._local = _ThreadState()
            self._pid = os.getpid()
        found = self._local.connection
        if found is None:
            self.check_identity()  # SQLite would make an empty file where ours is gone
            found = self._local.connection = self._connect()
        return found

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, timeout=self.lock_timeout_s)
        # FULL: an acknowledged enqueue survives power loss (NORMAL lost up to 831 rows in a crash image)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -2000")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def write(self) -> _WriteTransaction:
        """Open a write transaction: gate, ``BEGIN IMMEDIATE``, and commit at the end, or roll back on any error.

        The transaction gets a revision of its own: statements read it from ``clock``. It does not nest.
        """
        return _WriteTransaction(self, self._local)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection for reading; several statements see one moment."""
        with self.translate_errors():
            connection = self.connection()
            if connection.in_transaction:
                if self._local.writing is not None:
                    yield connection
                    return
                connection.execute("COMMIT")  # an interrupt cut a look short: it must not freeze what we see
            self.check_identity()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    def data_version(self) -> int:
        """Return a number that changes whenever another connection has committed (3 µs)."""
        self.check_identity()
        try:
            version: int = self.connection().execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            raise translate(error, self.path, self.lock_timeout_s) from error
        return version

    def change_counters(self) -> tuple[int, int]:
        """Return what changes with every commit, those of this thread's own connection included."""
        return self.data_version(), self.connection().total_changes

    def close(self) -> None:
        """Close this thread's connection."""
        found = self._local.connection
        if found is not None and self._pid == os.getpid():
            found.close()
            self._local.connection = None

    def set_lock_timeout(self, seconds: float) -> None:
        """Wait no longer than this for other writers; a worker would rather look after its job meanwhile."""
        self.lock_timeout_s = seconds
        self.connection().execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    @property
    def identity(self) -> tuple[int, int]:
        """The file that was opened, as device and number: another one of the same name has another."""
        return self._identity

    def tune_for_worker(self) -> None:
        """Make this process's connections those of a worker; for a process that is nothing else.

        Fewer pages: what a worker touches is the same few, and its memory should be full soon and stay flat. And
        sqlite3 is told how None adapts to SQL: as itself. Otherwise each None that is bound is asked twice for a way,
        by lookups that fail and cost as much as writing a short row.
        """
        self.connection().execute("PRAGMA cache_size = -1000")
        sqlite3.register_adapter(type(None), {None: None}.get)

    def is_replaced(self) -> bool:
        """Tell whether the file was deleted or replaced since it was opened."""
        try:
            return self._stat() != self._identity
        except OSError:
            return True

    def check_identity(self) -> None:
        """Raise when the file is not ours any more: what we would write, nobody would ever read."""
        if self.is_replaced():
            msg = f"the queue {self.path} was deleted or replaced while in use; begin anew with the file that is there"
            raise BadEnvironment(msg)

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except PROGRAMMING_ERRORS:
            raise
        except sqlite3.Error as error:
            raise translate(error, self.path, self.lock_timeout_s) from error


class _WriteTransaction:
    """A write transaction as a ``with`` block; Ctrl+C in the middle leaves neither it nor the gate behind."""

    def __init__(self, db: Database, local: _ThreadState) -> None:
        self._db = db
        self._local = local
        self._lock = LockRequest(db.write_lock.path)
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> sqlite3.Connection:
        db = self._db
        try:
            connection = db.connection()
            self._local = db._local  # noqa: SLF001 - ours; another one since a fork
            self._clear_interrupted(connection)
            self._local.writing = self
            began = time.monotonic()
            self._lock.acquire(db.lock_timeout_s)
            self._connection = connection
            db.check_identity()
            waited = time.monotonic() - began
            if waited > NEGLIGIBLE_WAIT_S:  # the patience is for both waits together
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
        """Clear away what an interrupt at the worst moment has left of this thread's last block."""
        if self._local.writing is not None:
            self._local.writing._end(commit=False)  # noqa: SLF001 - of this class
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
