"""Artifacts: files that jobs leave in a folder, in the spool; how they are listed, read and recorded.

Readers follow no links, not even of parent folders.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.child.blob import PARTIAL
from queuectl_nb.store.blobs import STRAY_AGE_S
from queuectl_nb.store.queries import Q
from queuectl_nb.store.regular_file import OPEN_DIR, Descriptor, remove_tree

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.settle import EndedAttempt

__all__ = [
    "SUFFIX",
    "Artifact",
    "artifact_attempts",
    "artifact_dir",
    "count_artifacts",
    "find_stray_folders",
    "is_valid_name",
    "list_artifacts",
    "open_artifact",
    "record_artifacts",
    "remove_stray_folders",
]

SUFFIX = ".artifacts"
MAX_NAME_BYTES, MAX_FOLDERS = 1024, 32
"""Maximum length of a name including its folders, and maximum number of these."""


class Artifact(NamedTuple):
    """A file that is kept; ``name`` is its path in the folder, with slashes."""

    name: str
    size: int
    modified_at: float


def artifact_dir(spool: str | os.PathLike[str], token: str) -> str:
    """Return the path of the folder of an attempt."""
    return f"{os.fspath(spool)}/{token}{SUFFIX}"


def is_valid_name(name: str) -> bool:
    """Return True for a name that can be shown and typed."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    valid = len(encoded) <= MAX_NAME_BYTES and name.count("/") <= MAX_FOLDERS
    return valid and not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in name)


def list_artifacts(path: str) -> Iterator[Artifact]:
    """Yield the artifacts in a folder, of a running attempt as well; links and special files are left out."""
    try:
        top = Descriptor(os.open(path, OPEN_DIR))
    except OSError:
        return
    with top:
        yield from _walk(top)


def _walk(top: int) -> Iterator[Artifact]:
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            handle = _open_beneath(top, folder.rstrip("/"), OPEN_DIR) if folder else Descriptor(os.dup(top))
        except OSError:
            continue
        with handle:
            inner = []
            for each in sorted(os.listdir(handle)):
                name = f"{folder}{each}"
                with contextlib.suppress(OSError):  # removed meanwhile
                    found = os.stat(each, dir_fd=handle, follow_symlinks=False)
                    if not is_valid_name(name) or name.endswith(PARTIAL):
                        continue
                    if stat.S_ISDIR(found.st_mode):
                        inner.append(f"{name}/")
                    elif stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                        yield Artifact(name, found.st_size, found.st_mtime)
            folders += reversed(inner)


def open_artifact(path: str, name: str) -> int:
    """Open an artifact for reading without following links; return the descriptor.

    Raises
    ------
    FileNotFoundError
        There is no such artifact.
    OSError
        It cannot be read.
    """
    parts = name.split("/")
    if not is_valid_name(name) or any(part in {"", ".", ".."} for part in parts):
        raise _no_artifact(name)
    try:
        with Descriptor(os.open(path, OPEN_DIR)) as top:
            handle = _open_beneath(top, name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:  # a link, a file as a folder, a FIFO
            raise _no_artifact(name) from error
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(handle)
        raise _no_artifact(name)
    return handle


def _no_artifact(name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _open_beneath(top: int, name: str, flags: int) -> Descriptor:
    """Open a path beneath a folder, none of whose parts may be a link."""
    *folders, last = name.split("/")
    handle = os.dup(top)
    try:
        for folder in folders:
            deeper = os.open(folder, OPEN_DIR, dir_fd=handle)
            os.close(handle)
            handle = deeper
        return Descriptor(os.open(last, flags, dir_fd=handle))
    finally:
        os.close(handle)


# ---------------------------------------------------------------------- in the database


def record_artifacts(connection: sqlite3.Connection, ended: Sequence[EndedAttempt]) -> None:
    """Store which attempts have artifacts, in the current transaction."""
    rows = [
        (each.lease.seq, each.lease.number, each.lease.token, *each.ending.artifacts)
        for each in ended
        if each.ending.artifacts is not None
    ]
    connection.executemany(Q.keep_artifacts, rows)


def artifact_attempts(db: Database, job_id: str) -> list[tuple[int, str, str | None]]:
    """Return number, name of the folder and note of the attempts that may have artifacts, the newest first."""
    return db.query(Q.artifact_attempts, {"id": job_id})


def count_artifacts(db: Database) -> tuple[int, int, int]:
    """Return how many attempts have artifacts, and the number and size of these."""
    ((attempts, files, size),) = db.query(Q.count_artifacts)
    return attempts, files, size


def find_stray_folders(db: Database, now: float, age_s: float = STRAY_AGE_S) -> list[str]:
    """Return the paths of folders that belong to no attempt and are older than ``age_s`` seconds.

    The folders are listed before the attempts are read, so that one of a new attempt is not among them.
    """
    folder = os.fspath(db.output_dir)
    found = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            token, dot, suffix = entry.name.partition(".")
            if f"{dot}{suffix}" == SUFFIX:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < now - age_s:
                        found[token] = entry.path
    known = {token for (token,) in db.query(Q.known_artifacts, {"tokens": json.dumps([*found])})} if found else set()
    return [path for token, path in found.items() if token not in known]


def remove_stray_folders(db: Database, now: float, age_s: float = STRAY_AGE_S) -> int:
    """Remove the folders that :func:`find_stray_folders` finds; return how many."""
    strays = find_stray_folders(db, now, age_s)
    for path in strays:
        remove_tree(path)
    return len(strays)
