"""Opens, measures and removes files that a job may have replaced by a link, a FIFO, a directory or a hard link."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import Self

__all__ = [
    "OPEN_DIR",
    "REPLACED_ERRNOS",
    "Descriptor",
    "FolderWatch",
    "is_replaced",
    "last_write",
    "open_locked",
    "open_regular",
    "remove_tree",
]

REPLACED_ERRNOS = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EINVAL})
"""Error numbers of :func:`open_regular` for a path that is not a regular file of its own."""

CTIME_LAG_S = 0.02
"""Twice the longest interval at which a kernel updates the time that it gives to files."""
COARSE_CTIME_NS = 10_000_000
"""A ctime that is a multiple of it may be that of a file system with whole seconds, or hundredths of them."""


class Descriptor(int):
    """A file descriptor; a ``with`` statement closes it."""

    __slots__ = ()

    def __enter__(self) -> Self:
        """Return the descriptor."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        os.close(self)


def open_regular(path: str | os.PathLike[str], flags: int) -> Descriptor:
    """Open the regular file ``path`` without following links and without blocking; return the descriptor.

    A file opened for writing must not have another hard link. It is truncated only after these checks.

    Raises
    ------
    OSError
        With an ``errno`` in :data:`REPLACED_ERRNOS` if the path is something else.
    """
    handle = Descriptor(os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600))
    try:
        _check(os.fstat(handle), path, writing=bool(flags & (os.O_WRONLY | os.O_RDWR)))
        if flags & os.O_TRUNC:
            os.ftruncate(handle, 0)
    except BaseException:
        os.close(handle)
        raise
    return handle


def open_locked(path: str | os.PathLike[str], flags: int) -> Descriptor:
    """Open a regular file and lock it (flock); raise BlockingIOError if somebody else has locked it."""
    handle = open_regular(path, flags)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle


def last_write(path: str) -> tuple[int, int]:
    """Return the modification time (nanoseconds) and size of a regular file; zeros if there is none."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return 0, 0
    return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else (0, 0)


def is_replaced(path: str) -> bool:
    """Return True if there is something other than a regular file."""
    return os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode)


def _check(found: os.stat_result, path: str | os.PathLike[str], *, writing: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    if writing and found.st_nlink > 1:
        raise OSError(errno.EINVAL, "the file has another hard link", os.fspath(path))


class FolderWatch:
    """Tells with one system call whether the entries of a folder, or the folder itself, may have changed.

    Whatever changes a folder sets its ctime, which no process can set to a chosen value.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Watch the folder ``path``, which need not exist yet."""
        self._path = os.fspath(path)
        self._state = (0, 0)
        self._seen_at = 0.0

    def unchanged_since(self, started: float) -> bool:
        """Return True if nothing has changed since ``started`` (monotonic), False if something has or that is unknown.

        It is known from the second call on, if ``started`` is after the first.
        """
        try:
            found = os.lstat(self._path)
        except OSError:
            return False
        state = found.st_ino, found.st_ctime_ns
        if state == self._state and state[1] % COARSE_CTIME_NS:
            return self._seen_at + CTIME_LAG_S < started
        self._state, self._seen_at = state, time.monotonic()
        return False


OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
"""Flags that open a folder, but no link to one."""


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
            with Descriptor(os.open(path, OPEN_DIR)) as handle:
                _empty(handle)
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
                with Descriptor(os.open(name, OPEN_DIR, dir_fd=top)) as folder:
                    for each in os.listdir(folder):
                        try:
                            os.unlink(each, dir_fd=folder)
                        except OSError:
                            _make_writable(each, folder)  # otherwise it cannot be moved
                            number += 1
                            os.rename(each, f".removed-{os.getpid()}-{number}", src_dir_fd=folder, dst_dir_fd=top)
                os.rmdir(name, dir_fd=top)
                progress = True


def _make_writable(path: str, folder: int | None = None) -> None:
    """Give the owner all rights on a folder; nothing else is changed."""
    if stat.S_ISDIR(os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode):
        os.chmod(path, 0o700, dir_fd=folder)
