"""Texts for errors of the operating system, each with a remedy where the cause is a limit."""

from __future__ import annotations

import errno
import os

__all__ = ["OPEN_FILES_ERRNOS", "describe_os_error", "open_files_error", "os_reason"]

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
