"""FIFOs that wake waiting workers: one per queue for new work, one per worker for requests and settings.

A byte in the work FIFO wakes one worker, not all (EPOLLEXCLUSIVE); a woken worker that leaves more work notifies again.
Notifying never blocks and never fails: a full FIFO wakes its readers anyway, and one without readers has nobody to
wake.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["drain", "notify", "open_fifo", "work_fifo", "worker_fifo"]


def work_fifo(spool: Path) -> Path:
    """Return the FIFO for new work."""
    return spool / "work.fifo"


def worker_fifo(spool: Path, name: str) -> Path:
    """Return the FIFO of one worker, for changes of its row, its jobs or the settings."""
    return spool / "worker" / f"{name}.fifo"


def notify(fifo: Path) -> None:
    """Wake a reader of the FIFO, if there is one."""
    try:
        handle = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # no FIFO (ENOENT) or no reader (ENXIO)
    try:
        if stat.S_ISFIFO(os.fstat(handle).st_mode):
            os.write(handle, b"!")
    except (BlockingIOError, BrokenPipeError):
        pass  # full, or the last reader has just closed it
    finally:
        os.close(handle)


def open_fifo(path: Path) -> int:
    """Create the FIFO if needed and return a descriptor that is readable when notified; :func:`drain` empties it."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    # O_RDWR: does not block here, and there is no end-of-file when a writer closes
    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISFIFO(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EEXIST, "not a FIFO", str(path))
    return handle


def drain(handle: int) -> None:
    """Read all notifications."""
    with contextlib.suppress(BlockingIOError):
        while len(os.read(handle, 4096)) == 4096:
            pass
