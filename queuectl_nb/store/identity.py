"""The identity of a queue: a random id in its file, bound to that file, which distinguishes a copy from the original.

A copy has another inode, or by chance the same one on another file system, but then another birth time. The device
number is not compared: it changes at a reboot and differs between containers.

The attempts that a copy takes for running belong to the original: their processes must not be killed, and no worker of
the copy will ever report their end.

A file that was copied while the original was written may be damaged in a way that SQLite does not notice, such as an
index that lists a job twice, which would then run twice. So a copy is checked before it is used.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.connection_use import InUse
from queuectl_nb.store.queries import Q
from queuectl_nb.store.queue_files import record_first_name

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from queuectl_nb.store.connection import Database

__all__ = ["birth_time", "detect_copy"]

_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_FIELDS = struct.Struct("=I76xqI")
"""The fields of ``struct statx`` that are read: the mask, and seconds and nanoseconds of the birth time."""
_STATX_BYTES = 256


def detect_copy(db: Database, *, compare_birth_time: bool = False) -> None:
    """Give a queue a new identity, and fail the jobs that it takes for running, if its file is a copy.

    ``compare_birth_time`` also detects a copy that has the inode of the original. It loads ctypes, so it is left to
    those who look for processes.
    """
    with InUse(), db.translate_errors():
        row = db.connection().execute(Q.identity).fetchone()
    inode = str(db.identity[1])
    if row is not None and row[0] == inode and not compare_birth_time:
        return
    born = birth_time(db.file)
    if not _matches(row, inode, born):
        if row is not None:
            _refuse_damaged_copy(db)
        _renew(db, inode, born)


def _matches(row: tuple[str, int | None] | None, inode: str, born: int | None) -> bool:
    return row is not None and row[0] == inode and (born is None or row[1] in (None, born))


def _refuse_damaged_copy(db: Database) -> None:
    from queuectl_nb.store.checks import Checks

    if damage := Checks(db).integrity_errors():
        msg = f"{db.path} is a damaged copy ({damage[0]}); copy the queue again with 'queuectl backup FILE'"
        raise BadEnvironment(msg)


def _renew(db: Database, inode: str, born: int | None) -> None:
    """Give a new or copied queue a new id, unless another process has done so."""
    with db.write() as connection:
        row = connection.execute(Q.identity).fetchone()
        if _matches(row, inode, born):
            return
        if row is not None:
            _fail_running_jobs(db, connection)
        connection.execute(Q.set_identity, (os.urandom(16).hex(), inode, born))
        record_first_name(db.file)


def _fail_running_jobs(db: Database, connection: sqlite3.Connection) -> None:
    """Settle the attempts of the original's workers, and forget these workers."""
    import random  # takes longer to load than an enqueue to run

    from queuectl_nb.model.attempt import Ending
    from queuectl_nb.model.outcome import Copied
    from queuectl_nb.store.settings import SettingsTable
    from queuectl_nb.store.settle import EndedAttempt, HeldLease, record_ended

    now = time.time()
    ended = [EndedAttempt(HeldLease(*row), Copied(), Ending(now)) for row in connection.execute(Q.held_leases)]
    record_ended(connection, ended, SettingsTable(db).read_valid(), now, random.random())
    connection.execute(Q.remove_all_workers)


def birth_time(path: Path) -> int | None:
    """Return when a file was created, in nanoseconds since the epoch; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        born = getattr(os.stat(path), "st_birthtime", None)
        return None if born is None else round(born * 1e9)
    import ctypes

    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except AttributeError:  # an old C library
        return None
    found = ctypes.create_string_buffer(_STATX_BYTES)
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found):
        return None
    mask, seconds, nanoseconds = _STATX_FIELDS.unpack_from(found)
    return seconds * 10**9 + nanoseconds if mask & _STATX_BTIME else None
