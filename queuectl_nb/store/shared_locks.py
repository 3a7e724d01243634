"""Locks that keep the write-ahead log in place while this process has a queue open.

POSIX drops every record lock of a process on a file as soon as the process closes any descriptor of that file:
``shutil.copy(path)`` or ``open(path).read()`` is enough, and SQLite does not notice. Another process that closes its
last connection then takes the exclusive lock, checkpoints and deletes the write-ahead log, and later commits of this
process go into a deleted file.

Open-file-description locks belong to a descriptor of this module and survive that. A read lock on SQLite's shared
bytes keeps others from the exclusive lock; one on the deadman-switch byte keeps them from truncating the shared memory
file.

So while the queue is open, SQLite neither deletes nor creates the log or the shared memory. If another program deletes
or renames one of them, or renames the queue without them, the next process would create new ones: two logs of one file,
whose users do not see each other's changes. :meth:`SharedLocks.check` notices that in processes that have the queue
open, :func:`wait_for_sidecars` in those that open it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import struct
import threading
import time
from typing import ClassVar

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.os_errors import os_reason
from queuectl_nb.store.queue_files import check_sidecars

__all__ = ["FileId", "SharedLocks", "wait_for_sidecars"]

_SHARED_BYTES = (0x40000002, 510)
"""Offset and length of the bytes of the database file that SQLite locks, shared or exclusively."""
_DEADMAN_SWITCH = (128, 1)
"""Offset and length of the byte of the ``-shm`` file that each connection holds a read lock on."""
_LOG_SUFFIXES = ("-wal", "-shm")
_WAL_FORMAT = (18, b"\2\2")
"""Offset and content of the header of a database file that has a write-ahead log."""
_OFD_SETLK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_OFD_GETLK: int = getattr(fcntl, "F_OFD_GETLK", 0)
_FLOCK = "hhqqi4x"
WAIT_FOR_SIDECARS_S = 5.0
"""How long an open waits for the processes that use files which were deleted: workers notice within a second."""
FileId = tuple[int, int]


class SharedLocks:
    """The locks of this process on one queue, held while it has a connection to it."""

    _by_file: ClassVar[dict[FileId, SharedLocks]] = {}
    _by_connection: ClassVar[dict[sqlite3.Connection, FileId]] = {}
    mutex = threading.RLock()  # a garbage collection may close connections at any point

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._descriptors: list[int] = []
        self.sidecars: list[tuple[str, FileId | None]] = []
        """The log and the shared memory that the connections use."""
        self.connections = 0

    @classmethod
    def acquire(cls, connection: sqlite3.Connection, path: str, file_id: FileId) -> None:
        """Protect a connection to ``path`` until :meth:`close`.

        Where the system has no open-file-description locks (macOS), nothing is locked.
        """
        with cls.mutex:
            locks = cls._by_file.setdefault(file_id, cls())
            if not locks.connections:
                try:
                    locks.lock(connection, path)
                except BaseException as error:
                    connection.close()
                    locks.discard(file_id)
                    if isinstance(error, OSError):
                        raise BadEnvironment(f"cannot lock {path}: {os_reason(error)}") from error
                    raise
            locks.connections += 1
            cls._by_connection[connection] = file_id

    @classmethod
    def close(cls, connection: sqlite3.Connection) -> None:
        """Close a connection. The locks are dropped before the last one, so that SQLite can checkpoint."""
        with cls.mutex:
            file_id = cls._by_connection.pop(connection, None)
            descriptors = []
            if file_id is not None:
                cls._by_file[file_id].checkpoint_if_renamed(connection)
                descriptors = cls._by_file[file_id].release(file_id)
            connection.close()
            for descriptor in descriptors:  # closing one earlier would drop the locks of the connection
                os.close(descriptor)

    def lock(self, connection: sqlite3.Connection, path: str) -> None:
        """Take the locks for the first connection."""
        if _OFD_SETLK is None:
            return
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # SQLite holds its own locks from here
        for name, lock in ((path, _SHARED_BYTES), (f"{path}-shm", _DEADMAN_SWITCH)):
            self._descriptors.append(os.open(name, os.O_RDONLY | os.O_NOFOLLOW))
            _set_lock(self._descriptors[-1], fcntl.F_RDLCK, lock)
        # another user may have created them since the check before; these locks keep what they hold out of the database
        check_sidecars(path, required=_LOG_SUFFIXES)
        self.sidecars = [(name, _file_id(name)) for name in (f"{path}{suffix}" for suffix in _LOG_SUFFIXES)]

    def discard(self, file_id: FileId) -> None:
        """Forget the locks after the only connection was closed."""
        del self._by_file[file_id]
        while self._descriptors:
            os.close(self._descriptors.pop())

    def checkpoint_if_renamed(self, connection: sqlite3.Connection) -> None:
        """Move the log into the file if that was renamed without it; SQLite does so only at the old place."""
        if self.sidecars and not os.path.lexists(self.sidecars[0][0].removesuffix(_LOG_SUFFIXES[0])):
            with contextlib.suppress(sqlite3.Error):  # others use it, and do the same when they close it
                connection.execute("PRAGMA busy_timeout = 0")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @classmethod
    def check(cls, file_id: FileId) -> None:
        """Raise if files that this process uses beside the queue were deleted or replaced."""
        locks = cls._by_file.get(file_id)
        for name, expected in () if locks is None else locks.sidecars:
            found = _file_id(name)
            if found is None or found != expected:
                msg = f"{name} was deleted or replaced while in use; open the queue again"
                raise BadEnvironment(msg)

    @classmethod
    def uses(cls, file_id: FileId) -> bool:
        """Return True if this process has a protected connection to the file."""
        return file_id in cls._by_file

    def release(self, file_id: FileId) -> list[int]:
        """Count a connection that is about to be closed; return descriptors to close after the last one."""
        self.connections -= 1
        if self.connections:
            return []
        del self._by_file[file_id]
        for descriptor, lock in zip(self._descriptors, (_SHARED_BYTES, _DEADMAN_SWITCH), strict=False):
            _set_lock(descriptor, fcntl.F_UNLCK, lock)
        return self._descriptors


def _set_lock(descriptor: int, kind: int, lock: tuple[int, int]) -> None:
    if _OFD_SETLK is not None:
        fcntl.fcntl(descriptor, _OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, *lock, 0))


def _file_id(name: str) -> FileId | None:
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def wait_for_sidecars(path: str, file_id: FileId) -> None:
    """Raise if others use the file with a log that is not beside it; wait :data:`WAIT_FOR_SIDECARS_S` for their end.

    The last one to close it moves what is in that log into the file. Also raise if others use an empty file: SQLite
    would delete its log.
    """
    deadline = time.monotonic() + WAIT_FOR_SIDECARS_S
    while _lacks_files(path) and _is_used(path, file_id):
        if time.monotonic() > deadline:
            if _is_empty(path):
                raise BadEnvironment(f"{path} is in use, but was emptied; end the programs that use it, open it again")
            raise BadEnvironment(
                f"{path} is in use, but its files -wal and -shm are not beside it: it was renamed, or they were"
                " deleted; undo that, or end the programs that use it"
            )
        time.sleep(0.02)


def _lacks_files(path: str) -> bool:
    return _is_empty(path) or not all(os.path.exists(f"{path}{suffix}") for suffix in _LOG_SUFFIXES)


def _is_empty(path: str) -> bool:
    with contextlib.suppress(OSError):
        return not os.path.getsize(path)
    return False


def _is_used(path: str, file_id: FileId) -> bool:
    """Return True if a process has the queue open, which has a log."""
    if _OFD_SETLK is None:
        return False
    if SharedLocks.uses(file_id):  # closing a descriptor would drop the locks of SQLite in this process
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # SQLite will say why
        return False
    try:
        offset, content = _WAL_FORMAT
        if os.pread(descriptor, len(content), offset) not in (content, b""):
            return False
        probe = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, *_SHARED_BYTES, 0)
        kind: int = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, _OFD_GETLK, probe))[0]
        return kind != fcntl.F_UNLCK
    finally:
        os.close(descriptor)
