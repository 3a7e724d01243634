"""What /proc says about a process in all states from its start until it is reaped, and its open files (Linux)."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    import psutil

__all__ = ["TOKEN_VARIABLE", "ancestors", "attempt_token", "file_ids", "holds_all", "holds_any", "read_stat"]

TOKEN_VARIABLE = "QUEUECTL_ATTEMPT_TOKEN"  # noqa: S105 - a name, not a secret
MAX_ENVIRONMENT_READS = 100
_FLAGS, _ENV_START, _ENV_END = 6, 47, 48
"""Positions in /proc/PID/stat, counted from the state."""
_NO_ENVIRONMENT = 0x4 | 0x200000
"""Flags of a process that is exiting, and of a thread of the kernel (PF_EXITING, PF_KTHREAD)."""


def attempt_token(process: psutil.Process) -> str | None:
    """Return the token in the environment of a process; that seems empty while it calls exec: read it again."""
    if not sys.platform.startswith("linux"):
        return process.environ().get(TOKEN_VARIABLE)
    for _ in range(MAX_ENVIRONMENT_READS):
        with open(f"/proc/{process.pid}/environ", "rb", buffering=0) as file:
            variables = file.readall()
        if variables or not _may_call_exec(process.pid):
            break
        time.sleep(0.001)
    _, found, rest = (b"\0" + variables).partition(b"\0%b=" % TOKEN_VARIABLE.encode())
    return rest.partition(b"\0")[0].decode("ascii", "replace") if found else None


def _may_call_exec(pid: int) -> bool:
    """Return False if it is known that a process has no environment."""
    fields = read_stat(pid)
    begin, end = int(fields[_ENV_START]), int(fields[_ENV_END])
    return not (int(fields[_FLAGS]) & _NO_ENVIRONMENT or 0 < begin == end)


def read_stat(pid: int) -> list[bytes]:
    """Return /proc/PID/stat from the state on: state, ppid, pgrp, session; the 20th field is the start time.

    Raises OSError if the process has been reaped.
    """
    with open(f"/proc/{pid}/stat", "rb") as status:
        fields = status.read().rpartition(b")")[2].split()  # the name in parentheses may contain anything
    if fields[0] in (b"X", b"Z") and fields[1] == b"0":  # it is being reaped, and has lost its parent and session
        raise ProcessLookupError(pid)
    return fields


def ancestors(pid: int) -> list[int]:
    """Return ``pid`` and its ancestors (Linux only); none if it has been reaped."""
    found: list[int] = []
    while True:
        previous, found, process = found, [], pid
        with contextlib.suppress(OSError):
            while process and process not in found:
                parent = int(read_stat(process)[1])
                found.append(process)
                process = parent
            return found
        if found == previous:  # none has ended meanwhile and left its children to another parent
            return found


def holds_all(pid: int, paths: Iterable[str | Path]) -> bool:
    """Return True if the process has each of the files open for writing; always False on macOS."""
    return all(holds_any(pid, file_ids([path])) for path in paths)


def file_ids(paths: Iterable[str | Path]) -> set[tuple[int, int]]:
    """Return device and inode of each file that exists."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found.add((status.st_dev, status.st_ino))
    return found


def holds_any(pid: int, files: Collection[tuple[int, int]]) -> bool:
    """Return True if the process has one of the files open for writing (Linux only).

    A process that only reads a file follows a job's output and does not belong to the job.
    """
    try:
        handles = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for handle in handles:
        with contextlib.suppress(OSError):
            status = os.stat(f"/proc/{pid}/fd/{handle}")
            if (status.st_dev, status.st_ino) in files and _is_open_for_writing(pid, handle):
                return True
    return False


def _is_open_for_writing(pid: int, handle: str) -> bool:
    """Return True if a descriptor of the process is open for writing."""
    with open(f"/proc/{pid}/fdinfo/{handle}") as info:
        flags = next((line.split()[1] for line in info if line.startswith("flags:")), "1")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
