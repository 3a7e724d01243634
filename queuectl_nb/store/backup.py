"""Writes a consistent copy of a queue's database while others use it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import tempfile
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from queuectl_nb.child.blob import read_blob
from queuectl_nb.model.errors import BadEnvironment, BadInput
from queuectl_nb.store.blobs import blob_dir, blob_files
from queuectl_nb.store.os_errors import os_reason
from queuectl_nb.store.paths import SIDECAR_SUFFIXES, absolute_path
from queuectl_nb.store.queries import Q
from queuectl_nb.store.regular_file import Descriptor
from queuectl_nb.store.sqlite_errors import translate

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.store.connection import Database

__all__ = ["write_backup"]

STEP_PAGES = 1024
"""Pages that are copied at once; an interrupt takes effect between two steps."""
_FORMAT_AT, _ROLLBACK_JOURNAL = 18, b"\1\1"
"""Offset of the format versions in the header of a database, and their values without write-ahead logging."""
_TARGET_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def write_backup(db: Database, path: str | os.PathLike[str], *, force: bool = False) -> tuple[Path, int]:
    """Copy the database to ``path`` (mode 0600); return the absolute path and the number of jobs in the copy.

    The copy appears under its name once it is complete. ``force`` replaces an existing file.

    Raises
    ------
    BadInput
        The file exists and ``force`` is not given, or it is not a regular file, or the queue itself.
    BadEnvironment
        The file cannot be written, or another program uses it.
    """
    if not os.fspath(path):
        raise BadInput("the backup needs the path of a file")
    target = absolute_path(path)
    _check_target(db, target, force=force)
    try:
        handle, draft = tempfile.mkstemp(prefix=f"{target.name}.", dir=target.parent)
        try:
            jobs = _copy(db, draft, target)
            _include_blobs(db, draft, handle)
            os.fsync(handle)
            os.replace(draft, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):  # an interrupt came after it was renamed
                os.unlink(draft)
            raise
        finally:
            os.close(handle)
        with Descriptor(os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)) as folder:
            os.fsync(folder)
    except OSError as error:
        raise BadEnvironment(f"cannot write the backup {target}: {os_reason(error)}") from error
    return target, jobs


def _check_target(db: Database, target: Path, *, force: bool) -> None:
    try:
        found = os.lstat(target)
    except OSError:  # it does not exist, or writing it will say what is wrong
        found = None
    except ValueError as error:
        raise BadInput(f"{str(target)!a} cannot be the name of a file ({error}); choose another") from None
    if found is not None:
        if os.path.exists(target) and os.path.samefile(target, db.file):
            raise BadInput(f"{target} is the queue itself; choose another file for the backup")
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"{target} is not a regular file; choose another file for the backup")
        if not force:
            msg = f"{target} exists; choose another file, or replace it with force=True"
            raise BadInput(msg).with_option("force=True", "--force")
    for suffix in SIDECAR_SUFFIXES:
        if os.path.lexists(f"{target}{suffix}"):  # SQLite would treat it as part of the backup
            msg = f"{target}{suffix} exists, so a program may be using that queue; choose another file for the backup"
            raise BadEnvironment(msg)


def _copy(db: Database, draft: str, target: Path) -> int:
    """Copy the database to the empty file ``draft``, which becomes ``target``; return the number of jobs."""
    with db.read() as connection, closing(sqlite3.connect(_uri(draft), uri=True)) as copy:
        jobs: int = sum(n for _, n in connection.execute(Q.counts))
        try:
            copy.execute("PRAGMA journal_mode = OFF")
            connection.backup(copy, pages=STEP_PAGES, progress=lambda *_: None)
        except sqlite3.Error as error:
            at_target = getattr(error, "sqlite_errorcode", 0) & 0xFF in _TARGET_ERRORS
            raise translate(error, target if at_target else db.path, db.lock_timeout_s) from error
    return jobs


def _include_blobs(db: Database, draft: str, handle: int) -> None:
    """Put the content of blobs that are files into the copy; one whose file is damaged or missing stays without."""
    if not (names := blob_files(db)):
        return
    os.pwrite(handle, _ROLLBACK_JOURNAL, _FORMAT_AT)  # write-ahead logging needs shared memory
    with closing(sqlite3.connect(_uri(draft), uri=True)) as copy, copy:
        copy.execute("PRAGMA journal_mode = OFF")
        for name in names:
            with contextlib.suppress(OSError):
                values = {"name": name, "body": read_blob(f"{blob_dir(db.output_dir)}/{name}")}
                copy.execute(Q.set_blob_body, values)


def _uri(draft: str) -> str:
    """Return the URI of the copy. Nobody else knows it: without locks it can be on any file system."""
    return f"file:{quote(os.fsencode(draft))}?nolock=1"
