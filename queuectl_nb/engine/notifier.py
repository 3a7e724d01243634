"""FIFOs that wake processes: for new work, for requests to a worker, and for jobs that have finished.

A byte in the work FIFO wakes one worker, not all (EPOLLEXCLUSIVE). A woken worker that leaves more work wakes another,
and so on for a few workers (:data:`MAX_HOPS`); further ones are woken by jobs that take long. So only a few of many
workers run short jobs, since hundreds would cause many context switches. The byte is the number of workers woken.
Each worker has a FIFO for requests and settings. A process that waits for jobs creates a FIFO while it waits.
Notifying never blocks and never fails: a full FIFO wakes its readers anyway, and one without readers has nobody to
wake.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
import weakref
from typing import TYPE_CHECKING, Self

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.queue_files import make_private_dir
from queuectl_nb.store.regular_file import Descriptor

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.store.store import Store

__all__ = [
    "MAX_HOPS",
    "FinishWaiter",
    "drain",
    "notify",
    "notify_finished",
    "open_fifo",
    "unregister_worker",
    "waiter_dir",
    "wake_interval",
    "work_fifo",
    "worker_fifo",
]

MAX_HOPS = max(4, 2 * (os.cpu_count() or 1))
"""Maximum number of workers that wake each other before any of their jobs is known to take long."""
FALLBACK_POLL_S = 0.1
"""Interval of the fallback poll of a :class:`FinishWaiter`, in case a notification was lost."""
POLL_WITHOUT_FIFO_S = 0.02
"""Its poll interval where it could not create a FIFO."""
MIN_WAKE_INTERVAL_S = 0.002
"""Minimum interval between two wakes of a :class:`FinishWaiter`: workers may record hundreds of results a second."""
WAKE_INTERVAL_PER_JOB_S = 0.0002
"""Added to that interval for each job that is waited for: many jobs take longer to finish, too."""
STALE_AFTER_S = 1.0
"""Age from which a FIFO without a reader is removed; a younger one may be about to be opened."""


def work_fifo(spool: Path) -> Path:
    """Return the FIFO for new work."""
    return spool / "work.fifo"


def worker_fifo(spool: Path, name: str) -> Path:
    """Return the FIFO of one worker, for changes of its row, its jobs or the settings."""
    return spool / "worker" / f"{name}.fifo"


def waiter_dir(spool: Path) -> Path:
    """Return the directory with the FIFOs of those who wait for jobs."""
    return spool / "waiting"


def notify(fifo: str | Path, folder: int | None = None, *, hop: int = 1) -> bool:
    """Wake a reader of the FIFO, a path relative to the descriptor ``folder`` if given; return False without a reader.

    A missing FIFO counts as read. ``hop`` is the number of the woken worker, which :func:`drain` returns.
    """
    try:
        handle = Descriptor(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder))
    except OSError as error:
        return error.errno != errno.ENXIO
    # full, or the last reader has just closed it
    with handle, contextlib.suppress(BlockingIOError, BrokenPipeError):
        if stat.S_ISFIFO(os.fstat(handle).st_mode):
            os.write(handle, bytes([hop]))
    return True


def notify_finished(waiters: Path) -> None:
    """Wake all who wait for jobs; ``waiters`` is their directory. Takes microseconds if there are none.

    The FIFO of a process that was killed during a wait is removed.
    """
    try:
        folder = os.open(waiters, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    with contextlib.suppress(OSError):  # another process may remove FIFOs meanwhile
        for name in os.listdir(folder):
            stale = not notify(name, folder)
            if stale and os.lstat(name, dir_fd=folder).st_mtime < time.time() - STALE_AFTER_S:
                os.unlink(name, dir_fd=folder)
    os.close(folder)


def open_fifo(path: Path) -> int:
    """Create the FIFO if needed and return a descriptor that is readable when notified; :func:`drain` empties it."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    # O_RDWR: does not block here, and there is no end-of-file when a writer closes
    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
    if not stat.S_ISFIFO(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EEXIST, "not a FIFO", str(path))
    return handle


def drain(handle: int) -> int:
    """Read all notifications; return the lowest ``hop`` of the last ones, 0 if there was none."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if not poll.poll(0):  # the hot path before each start; an exception costs several times as much
        return 0
    read = b""
    with contextlib.suppress(BlockingIOError):
        read = os.read(handle, 4096)
        while len(read) == 4096:
            read = os.read(handle, 4096)
    return min(read, default=0)


def unregister_worker(store: Store, name: str) -> None:
    """Unregister a worker and remove its FIFO, and with the last worker that for new work.

    Programs that copy a project folder fail at a FIFO in it.
    """

    def remove_fifos(last: bool) -> None:
        for path in [worker_fifo(store.db.spool, name)] + [work_fifo(store.db.spool)] * last:
            with contextlib.suppress(OSError):
                path.unlink()

    store.workers.remove(name, remove_fifos)


def wake_interval(jobs: int) -> float:
    """Return the minimum interval between two checks of so many unfinished jobs.

    >>> wake_interval(1), wake_interval(20_000)
    (0.002, 0.1)
    """
    return min(max(MIN_WAKE_INTERVAL_S, jobs * WAKE_INTERVAL_PER_JOB_S), FALLBACK_POLL_S)


class FinishWaiter:
    """Waits until jobs may have finished: on a FIFO of its own, or by polling where there can be none.

    ``handle`` is the descriptor of the FIFO, for event loops; None before :meth:`open` and where there can be none.
    """

    def __init__(self, waiters: Path) -> None:
        """Prepare a wait; ``waiters`` is the directory for the FIFO."""
        self._waiters = waiters
        self._opened = False
        self._woken_at = 0.0
        self._remove: weakref.finalize[..., FinishWaiter] | None = None
        self.handle: int | None = None

    def open(self) -> None:
        """Create the FIFO. Check afterwards whether what is waited for has happened already."""
        self._opened = True
        path = self._waiters / f"{os.getpid()}-{os.urandom(4).hex()}.fifo"
        with contextlib.suppress(OSError, BadEnvironment):  # no space, or the spool was removed: poll
            make_private_dir(self._waiters)
            self.handle = open_fifo(path)
            self._remove = weakref.finalize(self, _remove_fifo, self.handle, path, os.getpid())

    def wait(self, timeout_s: float, jobs: int = 1) -> None:
        """Wait for a notification, or at most ``timeout_s``; the first call creates the FIFO and returns.

        The more ``jobs`` are waited for, the longer are the intervals between two notifications.
        """
        if not self._opened:
            self.open()
        elif self.handle is None:
            time.sleep(min(timeout_s, POLL_WITHOUT_FIFO_S))
        else:
            poll = select.poll()
            poll.register(self.handle, select.POLLIN)
            if poll.poll(min(timeout_s, FALLBACK_POLL_S) * 1000):
                pause = self._woken_at + wake_interval(jobs) - time.monotonic()
                if pause > 0:
                    time.sleep(min(pause, timeout_s))
                drain(self.handle)
                self._woken_at = time.monotonic()

    def close(self) -> None:
        """Remove the FIFO."""
        self.handle = None
        if self._remove is not None:
            self._remove()

    def __enter__(self) -> Self:
        """Return the waiter; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the waiter."""
        self.close()


def _remove_fifo(handle: int, path: Path, pid: int) -> None:
    """Remove a FIFO; not in a fork of the process that created it.

    The directory stays: removing one took milliseconds on a busy disk.
    """
    if os.getpid() == pid:
        os.close(handle)
        with contextlib.suppress(OSError):
            path.unlink()
