"""Translation of SQLite errors to our own, each with a remedy."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from queuectl_nb.model.errors import NOTHING_CHANGED, BadEnvironment, Busy
from queuectl_nb.store.os_errors import file_size_reason, open_files_error, os_reason

__all__ = ["PROGRAMMING_ERRORS", "is_disk_full", "translate"]

PROGRAMMING_ERRORS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""Bugs in our code, not problems with the file: these are never translated."""

LARGEST_WRITE = 1 << 16
"""More bytes than one of SQLite's writes adds to a file."""
_READ_ONLY_CODES = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
"""Codes that SQLite may report for a file on a read-only mount."""


def translate(error: sqlite3.Error, path: Path, lock_timeout_s: float) -> BadEnvironment | Busy:
    """Return our error for a SQLite error about the queue at ``path``."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy(f"the queue is busy: another program has held {path} locked for {lock_timeout_s:g} seconds")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR) and (limit := open_files_error()):
        return BadEnvironment(f"{path} cannot be opened: {os_reason(limit)}")
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHORT_READ:
        return BadEnvironment(
            f"{path} is shorter than its files -wal and -shm say: it was deleted, replaced or cut while in use;"
            " end the programs that use it, move all three away, and restore a backup"
        )
    if code == sqlite3.SQLITE_IOERR and (reason := file_size_reason(path, LARGEST_WRITE)):
        return BadEnvironment(f"{path} cannot be written: {reason}")
    if code in _READ_ONLY_CODES and _is_read_only(path):
        return BadEnvironment(f"{path} is on a read-only file system; mount it writable, or copy the queue elsewhere")
    texts = {
        sqlite3.SQLITE_NOTADB: f"{path} is not a queue (not a SQLite file); choose another file",
        sqlite3.SQLITE_CORRUPT: f"{path} is damaged ({error}); move it away and restore a backup",
        sqlite3.SQLITE_FULL: f"the disk of {path} is full; {NOTHING_CHANGED}; free some space and try again",
        sqlite3.SQLITE_READONLY: f"{path} or its directory is not writable; check permissions and mount options",
        sqlite3.SQLITE_CANTOPEN: f"{path} cannot be opened; check permissions of file and directory, and the mount",
        sqlite3.SQLITE_IOERR: f"reading or writing {path} failed ({error}); check the disk and its free space",
    }
    return BadEnvironment(texts.get(code, f"{path}: {error}"))


def is_disk_full(error: BadEnvironment) -> bool:
    """Return True for a translated error of a full disk."""
    return getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _is_read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False
