"""SQLite's errors in our words, each with its remedy."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment, Busy

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PROGRAMMING_ERRORS", "translate"]

PROGRAMMING_ERRORS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""Not the file's trouble but the code's: these stay what they are, so that a bug shows as one."""


_READ_ONLY_CODES = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
"""What SQLite says, from case to case, of a file on a mount that is, or has become, read-only."""


def translate(error: sqlite3.Error, path: Path, lock_timeout_s: float) -> BadEnvironment | Busy:
    """Return the error that the user meets for what SQLite said about the queue at ``path``."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy(f"the queue is busy: another program has held {path} locked for {lock_timeout_s:g} seconds")
    if code in _READ_ONLY_CODES and _is_read_only(path):
        return BadEnvironment(
            f"{path} is on a read-only file system, where no queue can be used; mount it writable, or copy the queue"
        )
    texts = {
        sqlite3.SQLITE_NOTADB: f"{path} is not a queue (not a SQLite file); name another with --db",
        sqlite3.SQLITE_CORRUPT: f"{path} is damaged ({error}); move it away and restore a backup",
        sqlite3.SQLITE_FULL: f"the disk of {path} is full; nothing was changed; make room and try again",
        sqlite3.SQLITE_READONLY: f"{path} or its folder cannot be written to; check its mode and its mount",
        sqlite3.SQLITE_CANTOPEN: f"{path} cannot be opened; check its mode, its folder's and its mount",
        sqlite3.SQLITE_IOERR: f"reading or writing {path} failed ({error}); check the disk and the room on it",
    }
    return BadEnvironment(texts.get(code, f"{path}: {error}"))


def _is_read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False
