"""How a worker that waits is woken: a FIFO beside the database for "there is work", one a worker for "look at me".

A byte in the common FIFO wakes one worker, not all (EPOLLEXCLUSIVE); who was woken and sees more work rings again.
Ringing never waits and never fails: a full FIFO is already ringing, and one without a reader has nobody to wake.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["drain", "listen", "notify", "work_fifo", "worker_fifo"]


def work_fifo(spool: Path) -> Path:
    """Return the FIFO that is rung for new work."""
    return spool / "doorbell"


def worker_fifo(spool: Path, name: str) -> Path:
    """Return the FIFO of one worker, rung when it must look at its row, its jobs or the settings."""
    return spool / "worker" / f"{name}.bell"


def notify(bell: Path) -> None:
    """Ring a bell; nothing happens where nobody listens."""
    try:
        handle = os.open(bell, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # no FIFO yet (ENOENT) or no reader (ENXIO): nobody waits
    try:
        if stat.S_ISFIFO(os.fstat(handle).st_mode):
            os.write(handle, b"!")
    except (BlockingIOError, BrokenPipeError):
        pass  # full: it is ringing; or the last who listened left just now
    finally:
        os.close(handle)


def listen(bell: Path) -> int:
    """Make the bell if needed and return a descriptor that polls readable when it rings; :func:`hush` empties it."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(bell, 0o600)
    # read and write, so that it neither blocks here nor reads end-of-file when a ringer closes
    handle = os.open(bell, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISFIFO(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EEXIST, "not a FIFO", str(bell))
    return handle


def drain(handle: int) -> None:
    """Empty a bell that rang."""
    with contextlib.suppress(BlockingIOError):
        while len(os.read(handle, 4096)) == 4096:
            pass
