"""Texts for errors of the operating system, each with a remedy where the cause is a limit."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OPEN_FILES_ERRNOS", "describe_os_error", "file_size_reason", "open_files_error", "os_reason"]

OPEN_FILES_ERRNOS = (errno.EMFILE, errno.ENFILE)
"""Error numbers if the limit of open files is reached: that of the process, that of the machine."""
SQLITE_FILES = 4
"""Files that SQLite opens at once: the database, its two sidecar files, and their directory to sync it."""


def os_reason(error: OSError) -> str:
    """Return why a call failed; if too many files are open, with the limit and how to raise it."""
    if error.errno == errno.EMFILE:
        limit = os.sysconf("SC_OPEN_MAX")
        return f"too many open files: the limit is {limit}; raise it with 'ulimit -n'"
    if error.errno == errno.ENFILE:
        return "too many open files on this machine; raise the limit with 'sysctl fs.file-max'"
    return error.strerror or str(error)


def describe_os_error(error: OSError) -> str:
    """Return the text of an error that nobody has translated: the file, if it is about one, and the reason."""
    return os_reason(error) if error.filename is None else f"{error.filename}: {os_reason(error)}"


def file_size_reason(path: Path, room: int) -> str | None:
    """Return why the queue ``path`` cannot grow by ``room`` bytes if the limit of file sizes does not allow it."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    sizes = [os.path.getsize(name) for name in (path, f"{path}-wal") if os.path.exists(name)]
    if limit == resource.RLIM_INFINITY or max(sizes, default=0) + room <= limit:
        return None
    return f"files may not be larger than {limit} bytes; raise the limit with 'ulimit -f'"


def open_files_error() -> OSError | None:
    """Return the error if SQLite cannot open its files because too many are open; it does not report that itself."""
    handles: list[int] = []
    try:
        for _ in range(SQLITE_FILES):
            handles.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 - closed on failure
    except OSError as error:
        return error if error.errno in OPEN_FILES_ERRNOS else None
    finally:
        for handle in handles:
            os.close(handle)
    return None
