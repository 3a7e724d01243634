"""Locks that keep the write-ahead log in place while this process has a queue open.

POSIX drops every record lock of a process on a file as soon as the process closes any descriptor of that file:
``shutil.copy(path)`` or ``open(path).read()`` is enough, and SQLite does not notice. Another process that closes its
last connection then takes the exclusive lock, checkpoints and deletes the write-ahead log, and later commits of this
process go into a deleted file.

Open-file-description locks belong to a descriptor of this module and survive that. A read lock on SQLite's shared
bytes keeps others from the exclusive lock; one on the deadman-switch byte keeps them from truncating the shared memory
file.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from typing import TYPE_CHECKING, ClassVar

from queuectl_nb.store.paths import check_sidecars

if TYPE_CHECKING:
    import sqlite3

__all__ = ["FileId", "SharedLocks"]

_SHARED_BYTES = (0x40000002, 510)
"""Offset and length of the bytes of the database file that SQLite locks, shared or exclusively."""
_DEADMAN_SWITCH = (128, 1)
"""Offset and length of the byte of the ``-shm`` file that each connection holds a read lock on."""
_OFD_SETLK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
FileId = tuple[int, int]


class SharedLocks:
    """The locks of this process on one queue, held while it has a connection to it."""

    _by_file: ClassVar[dict[FileId, SharedLocks]] = {}
    _by_connection: ClassVar[dict[sqlite3.Connection, FileId]] = {}
    mutex = threading.RLock()  # a garbage collection may close connections at any point

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._descriptors: list[int] = []
        self.connections = 0

    @classmethod
    def acquire(cls, connection: sqlite3.Connection, path: str, file_id: FileId) -> None:
        """Protect a connection to ``path`` until :meth:`close`.

        Where the system has no open-file-description locks (macOS), nothing is locked.
        """
        with cls.mutex:
            locks = cls._by_file.setdefault(file_id, cls())
            if not locks.connections:
                locks.lock(connection, path)
            locks.connections += 1
            cls._by_connection[connection] = file_id

    @classmethod
    def close(cls, connection: sqlite3.Connection) -> None:
        """Close a connection. The locks are dropped before the last one, so that SQLite can checkpoint."""
        with cls.mutex:
            file_id = cls._by_connection.pop(connection, None)
            descriptors = [] if file_id is None else cls._by_file[file_id].release(file_id)
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
        check_sidecars(path, required=("-wal", "-shm"))

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
        fcntl.fcntl(descriptor, _OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, *lock, 0))
