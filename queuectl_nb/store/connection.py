"""One SQLite file: a connection a thread, the pragmas, write transactions through the gate, errors in our words."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.store.filesystem import make_private_dir, make_private_file, network_type, spool_dir
from queuectl_nb.store.gate import WriteGate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "Database"]

APPLICATION_ID = 0x51637462
"""Marks a SQLite file as a queue of ours (``Qctb``), so that nobody's other database is written to."""
SCHEMA_VERSION = 1
PATIENCE = 30.0
"""Seconds a writer waits for the others before it is told that the queue is busy."""

_opening = threading.Lock()
_kept_for_parent: list[object] = []
"""Connections that a fork carried over: closing them here would drop the parent's locks, so they are never closed."""


class Database:
    """The queue's file. Safe to share between threads and to carry through a fork: each gets its own connection."""

    def __init__(self, path: Path, *, allow_network_fs: bool = False) -> None:
        """Open ``path``, making file, spool directory and schema where they are missing.

        Raises :class:`BadEnvironment` for a folder, a file that is no queue or a newer one, a file system that
        cannot lock; the file is not touched then.
        """
        self.path = path
        self.spool = spool_dir(path)
        self.patience = PATIENCE
        self.gate = WriteGate(self.spool / "write.lock")
        self._local = threading.local()
        self._pid = os.getpid()
        self._journal = "WAL"
        self._check_place(allow_network_fs=allow_network_fs)
        with _opening, self._plain_errors():
            make_private_file(path)
            make_private_dir(self.spool)
            self._identity = self._stat()
            self._ensure_schema()

    def _check_place(self, *, allow_network_fs: bool) -> None:
        if self.path.is_dir():
            msg = f"{self.path} is a folder; --db names the queue's file, such as {self.path / 'queue.db'}"
            raise BadEnvironment(msg)
        if not self.path.parent.is_dir():
            msg = f"there is no folder {self.path.parent} for the queue; make it first, or name another with --db"
            raise BadEnvironment(msg)
        kind = network_type(self.path.parent)
        if kind is None:
            return
        if not allow_network_fs:
            msg = (
                f"{self.path} is on a network file system ({kind}), where locks cannot be trusted;"
                " name a local file with --db or QUEUECTL_DB, or take --allow-network-fs for use from one host only"
            )
            raise BadEnvironment(msg)
        self._journal = "DELETE"

    def _stat(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_dev, found.st_ino

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opened at its first use in this process."""
        if self._pid != os.getpid():
            _kept_for_parent.append(self._local)
            self._local = threading.local()
            self._pid = os.getpid()
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._connect()
        return found

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=self.patience)
        # FULL: an acknowledged enqueue survives power loss (NORMAL lost up to 831 rows in a crash image)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -8000")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def _ensure_schema(self) -> None:
        connection = self.connection()
        marks = self._marks(connection)
        if marks == (APPLICATION_ID, SCHEMA_VERSION):
            return
        self._refuse_foreign(connection, *marks)
        with self.gate.hold(self.patience):
            if self._marks(connection) == (APPLICATION_ID, SCHEMA_VERSION):
                return
            from queuectl_nb.store.migrations import migrate  # noqa: PLC0415 - a second that only an old file needs

            connection.execute(f"PRAGMA journal_mode = {self._journal}")
            migrate(connection, APPLICATION_ID, SCHEMA_VERSION)

    @staticmethod
    def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        return application, connection.execute("PRAGMA user_version").fetchone()[0]

    def _refuse_foreign(self, connection: sqlite3.Connection, application: int, version: int) -> None:
        if application == APPLICATION_ID and version > SCHEMA_VERSION:
            msg = (
                f"{self.path} was made by a newer queuectl (schema {version}, this one knows {SCHEMA_VERSION});"
                " upgrade with 'pip install -U queuectl-nb'"
            )
            raise BadEnvironment(msg)
        foreign = application not in (0, APPLICATION_ID) or (application == 0 and version)
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if foreign or (application == 0 and tables):
            msg = f"{self.path} is a SQLite database but no queue of queuectl; name another file with --db"
            raise BadEnvironment(msg)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction: gate, ``BEGIN IMMEDIATE``, and commit at the end, or roll back on any error.

        The transaction gets a revision of its own: statements read it from ``clock``.
        """
        with self._plain_errors():
            connection = self.connection()
            with self.gate.hold(self.patience):
                self._check_identity()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    connection.execute("UPDATE clock SET rev = rev + 1")
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection for reading; several statements see one moment."""
        with self._plain_errors():
            connection = self.connection()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT" if connection.in_transaction else "SELECT 1")

    def version(self) -> int:
        """Return a number that changes whenever another connection has committed (3 µs)."""
        with self._plain_errors():
            self._check_identity()
            version: int = self.connection().execute("PRAGMA data_version").fetchone()[0]
            return version

    def close(self) -> None:
        """Close this thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is not None and self._pid == os.getpid():
            found.close()
            self._local.connection = None

    def be_patient(self, seconds: float) -> None:
        """Wait no longer than this for other writers; a worker would rather look after its job meanwhile."""
        self.patience = seconds
        self.connection().execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def replaced(self) -> bool:
        """Tell whether the file was deleted or replaced since it was opened."""
        try:
            return self._stat() != self._identity
        except OSError:
            return True

    def _check_identity(self) -> None:
        """Raise when the file is not ours any more: what we would write, nobody would ever read."""
        if self.replaced():
            msg = f"the queue {self.path} was deleted or replaced while in use; start again on the file that is there now"
            raise BadEnvironment(msg)

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours, each with the remedy."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise self._named(error) from error

    def _named(self, error: sqlite3.Error) -> BadEnvironment | Busy:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        path = self.path
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Busy(f"the queue is busy: another program has held {path} locked for {self.patience:g} seconds")
        texts = {
            sqlite3.SQLITE_NOTADB: f"{path} is not a queue (not a SQLite file); name another with --db",
            sqlite3.SQLITE_CORRUPT: f"{path} is damaged ({error}); move it away and restore a backup",
            sqlite3.SQLITE_FULL: f"the disk of {path} is full; nothing was changed; make room and try again",
            sqlite3.SQLITE_READONLY: f"{path} or its folder cannot be written to; check its mode and its mount",
            sqlite3.SQLITE_CANTOPEN: f"{path} cannot be opened; check its mode and its folder's",
            sqlite3.SQLITE_IOERR: f"reading or writing {path} failed ({error}); check the disk",
        }
        return BadEnvironment(texts.get(code, f"{path}: {error}"))
