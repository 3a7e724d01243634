"""Artifacts: files that jobs leave in a folder, in the spool.

All attempts of a worker get the folder ``WORKER.artifacts``, because creating one for each would cost a tenth of a
short job. If an attempt has left something there, it is renamed to ``TOKEN.artifacts``, and the next attempt gets a
new one. A job may put anything there. When it has ended, links, special files and what exceeds the limit are removed.
Readers follow no links, not even of parent folders.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.child.blob import PARTIAL
from queuectl_nb.store.blobs import STRAY_AGE_S
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from queuectl_nb.model.attempt import KeptArtifacts
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.settle import EndedAttempt

__all__ = [
    "SUFFIX",
    "Artifact",
    "ArtifactFolder",
    "artifact_attempts",
    "artifact_dir",
    "count_artifacts",
    "find_stray_folders",
    "is_empty_folder",
    "keep_artifacts",
    "list_artifacts",
    "open_artifact",
    "record_artifacts",
    "remove_stray_folders",
    "remove_tree",
    "take_left",
]

SUFFIX = ".artifacts"
BLOCK_BYTES = 4096
"""Least that a file or folder counts for, so that the limit also bounds their number."""
CTIME_LAG_S = 0.02
"""Twice the longest interval at which a kernel updates the time that it gives to files."""
MAX_NAME_BYTES, MAX_FOLDERS = 1024, 32
"""Length of a name with its folders, and how many these are."""
_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Artifact(NamedTuple):
    """A file that is kept; ``name`` is its path in the folder, with slashes."""

    name: str
    size: int
    modified_at: float


def artifact_dir(spool: str | os.PathLike[str], token: str) -> str:
    """Return the path of the folder of an attempt."""
    return f"{os.fspath(spool)}/{token}{SUFFIX}"


def is_empty_folder(path: str) -> bool:
    """Return True for an empty private folder, which another attempt can use."""
    try:
        handle = os.open(path, _OPEN_DIR)
    except OSError:
        return False
    try:
        return not os.listdir(handle) and os.fstat(handle).st_mode == stat.S_IFDIR | stat.S_IRWXU
    finally:
        os.close(handle)


class ArtifactFolder:
    """The folder that the attempts of a worker get, one after the other."""

    def __init__(self, spool: str | os.PathLike[str], worker: str) -> None:
        self.path = artifact_dir(spool, worker)
        self._spool = os.fspath(spool)
        self._known: tuple[int, ...] | None = None
        """State of the folder when it was empty; None if it has to be made."""

    def prepare(self) -> None:
        """Make the folder, if there is none that can be used."""
        if self._known is None:
            remove_tree(self.path)
            os.mkdir(self.path, 0o700)
            self._known = _state(os.lstat(self.path))

    def take(self, token: str, started_at: float, limit: int) -> KeptArtifacts | None:
        """Give what an attempt has left its own folder; None if that is nothing.

        Whatever changes a folder sets its ctime, which no process can set to a chosen value. It may lag behind by
        ``CTIME_LAG_S``, so a folder that was made right before the attempt is read.
        """
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            self._known = None
            return None
        if _state(found) == self._known and found.st_ctime < started_at - CTIME_LAG_S:
            return None
        kept = take_left(self._spool, self.path, token, limit)
        self._known = _state(os.lstat(self.path)) if is_empty_folder(self.path) else None
        return kept

    def close(self) -> None:
        """Remove the folder, which is empty."""
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_mode, found.st_ctime_ns


def take_left(spool: str, path: str, token: str, limit: int) -> KeptArtifacts | None:
    """Rename the folder ``path`` of a worker to that of an attempt if it has artifacts; return what was kept."""
    kept = keep_artifacts(path, limit)
    if kept is not None and kept.files:
        try:
            os.rename(path, artifact_dir(spool, token))
        except OSError as error:  # the disk is full
            remove_tree(path)
            from queuectl_nb.model.attempt import KeptArtifacts  # not loaded by an enqueue

            return KeptArtifacts(0, 0, f"its artifacts were not kept: {error.strerror}")
    return kept


# ---------------------------------------------------------------------- after the attempt


def keep_artifacts(path: str, limit: int) -> KeptArtifacts | None:
    """Remove what is not kept, and count the rest; None if the job has left nothing.

    No process of the attempt is left. A folder that is empty stays, for another attempt; anything else that contains
    no artifacts is removed.
    """
    if is_empty_folder(path):
        return None
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    cleaner = _Cleaner(path, limit)
    if stat.S_ISDIR(found.st_mode):
        cleaner.clean()
    else:
        cleaner.dropped["something in place of the folder"] += 1
    if not cleaner.files:
        remove_tree(path)
        if not cleaner.dropped:
            return None
    from queuectl_nb.model.attempt import KeptArtifacts

    return KeptArtifacts(cleaner.files, cleaner.size, cleaner.note())


class _Cleaner:
    """Goes through a folder once, and removes what is not kept."""

    def __init__(self, path: str, limit: int) -> None:
        self.files = self.size = 0
        self.dropped = Counter[str]()
        self._path = path
        self._limit = limit
        self._used = 0

    def clean(self) -> None:
        """Remove what is not kept, folder by folder."""
        folders = [""]
        while folders:
            folder = folders.pop()
            path = f"{self._path}/{folder}"
            try:
                os.chmod(path, 0o700)  # the job may have changed it
                with os.scandir(path) as entries:
                    folders += [f"{name}/" for name in self._clean_folder(folder, entries)]
            except OSError as error:
                self.dropped[f"folders that cannot be read: {error.strerror}"] += 1

    def _clean_folder(self, folder: str, entries: Iterable[os.DirEntry[str]]) -> Iterator[str]:
        """Remove what is not kept of a folder; yield the names of its subfolders."""
        for entry in entries:
            name = f"{folder}{entry.name}"
            if name.endswith(PARTIAL):
                remove_tree(entry.path)
            elif why := self._refusal(name, entry):
                self.dropped[why] += 1
                remove_tree(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield name

    def _refusal(self, name: str, entry: os.DirEntry[str]) -> str:
        """Return why an entry is not kept, or count it."""
        found = entry.stat(follow_symlinks=False)
        is_dir = stat.S_ISDIR(found.st_mode)
        if not is_dir and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1):
            regular = stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)
            return "links" if regular else "special files"
        if not _is_valid_name(name):
            return "invalid names"
        size = 0 if is_dir else found.st_size
        used = max(BLOCK_BYTES, -(-size // BLOCK_BYTES) * BLOCK_BYTES)
        if self._used + used > self._limit:
            return f"over artifact_limit of {self._limit} bytes"
        self._used += used
        self.size += size
        self.files += not is_dir
        if not is_dir and not found.st_mode & stat.S_IRUSR:
            os.chmod(entry.path, 0o600)
        return ""

    def note(self) -> str | None:
        """Return a sentence about what was not kept."""
        if not self.dropped:
            return None
        reasons = ", ".join(f"{why} ({count})" for why, count in sorted(self.dropped.items()))
        total = self.dropped.total()
        return f"{total} artifact{'s were' if total > 1 else ' was'} not kept: {reasons}"


def _is_valid_name(name: str) -> bool:
    """Return True for a name that can be shown and typed."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    valid = len(encoded) <= MAX_NAME_BYTES and name.count("/") <= MAX_FOLDERS
    return valid and not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in name)


def remove_tree(path: str) -> None:
    """Remove a file or folder with all of its content, however deep, without following links.

    Subfolders are moved to the top before they are emptied, so that their depth does not matter.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError:
        with contextlib.suppress(OSError):
            _make_writable(path)
            handle = os.open(path, _OPEN_DIR)
            try:
                _empty(handle)
            finally:
                os.close(handle)
            os.rmdir(path)


def _empty(top: int) -> None:
    """Remove the content of a folder."""
    number = 0
    progress = True
    while progress:
        progress = False
        for name in os.listdir(top):
            try:
                os.unlink(name, dir_fd=top)
                progress = True
                continue
            except OSError as error:
                if error.errno not in (errno.EISDIR, errno.EPERM):
                    continue
            with contextlib.suppress(OSError):
                _make_writable(name, top)
                folder = os.open(name, _OPEN_DIR, dir_fd=top)
                try:
                    for each in os.listdir(folder):
                        try:
                            os.unlink(each, dir_fd=folder)
                        except OSError:
                            _make_writable(each, folder)  # otherwise it cannot be moved
                            number += 1
                            os.rename(each, f".removed-{os.getpid()}-{number}", src_dir_fd=folder, dst_dir_fd=top)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=top)
                progress = True


def _make_writable(path: str, folder: int | None = None) -> None:
    """Give the owner all rights on a folder; nothing else is changed."""
    if stat.S_ISDIR(os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode):
        os.chmod(path, 0o700, dir_fd=folder)


# ---------------------------------------------------------------------- reading


def list_artifacts(path: str) -> Iterator[Artifact]:
    """Yield the artifacts in a folder, of a running attempt as well; links and special files are left out."""
    try:
        top = os.open(path, _OPEN_DIR)
    except OSError:
        return
    try:
        yield from _walk(top)
    finally:
        os.close(top)


def _walk(top: int) -> Iterator[Artifact]:
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            handle = _open_beneath(top, folder.rstrip("/"), _OPEN_DIR) if folder else os.dup(top)
        except OSError:
            continue
        try:
            inner = []
            for each in sorted(os.listdir(handle)):
                name = f"{folder}{each}"
                with contextlib.suppress(OSError):  # removed meanwhile
                    found = os.stat(each, dir_fd=handle, follow_symlinks=False)
                    if not _is_valid_name(name) or name.endswith(PARTIAL):
                        continue
                    if stat.S_ISDIR(found.st_mode):
                        inner.append(f"{name}/")
                    elif stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                        yield Artifact(name, found.st_size, found.st_mtime)
            folders += reversed(inner)
        finally:
            os.close(handle)


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
    if not _is_valid_name(name) or any(part in {"", ".", ".."} for part in parts):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    try:
        top = os.open(path, _OPEN_DIR)
        try:
            handle = _open_beneath(top, name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(top)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:  # a link, a file as a folder, a FIFO
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return handle


def _open_beneath(top: int, name: str, flags: int) -> int:
    """Open a path beneath a folder, none of whose parts may be a link."""
    *folders, last = name.split("/")
    handle = os.dup(top)
    try:
        for folder in folders:
            deeper = os.open(folder, _OPEN_DIR, dir_fd=handle)
            os.close(handle)
            handle = deeper
        return os.open(last, flags, dir_fd=handle)
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
