"""Finds the files that a process has open for writing, such as those of its job (Linux only)."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

__all__ = ["file_ids", "holds_all", "holds_any"]


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
