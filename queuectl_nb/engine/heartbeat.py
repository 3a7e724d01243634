"""Lock files and heartbeats of workers.

A worker and its supervisor hold a flock on the worker's lock file; without it, the worker is dead. The first eight
bytes are the heartbeat, a time written by a thread. It is written in place, which needs neither the database nor
free disk space, so a busy or full queue never makes a live worker look dead. Observers time its changes on their own
monotonic clock, on which a late check counts as one interval, so that a suspended laptop, a stopped process group or a
changed clock does not make a worker look frozen. The rest of the file is described in ``worker_record.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.os_errors import os_reason
from queuectl_nb.store.regular_file import Descriptor, open_locked, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from queuectl_nb.store.workers import WorkerRow

__all__ = [
    "FreezeDetector",
    "Heartbeat",
    "boot_clock",
    "boot_clock_ns",
    "boot_id",
    "host_name",
    "is_current",
    "is_dead",
    "job_host",
    "lock_path",
    "take_lock",
]

_HEARTBEAT = struct.Struct("<Q")
_DELETED = " (deleted)"
"""What the kernel adds to the name of an open file that was removed."""
HEARTBEAT_INTERVAL_S = 0.5
"""A quarter of the shortest lease."""
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_clock_ns() -> int:
    """Return nanoseconds of the clock of process start times in /proc, which includes suspended time."""
    return time.clock_gettime_ns(_BOOT_CLOCK)


def boot_clock() -> float:
    """Return seconds of the same clock; comparable within one host and boot."""
    return time.clock_gettime(_BOOT_CLOCK)


def host_name() -> str:
    """Return the name of this host."""
    return os.uname().nodename  # socket.gethostname, without loading that module


def job_host() -> str:
    """Return the host recorded with attempts: that of the node and the job id if this process runs in a Slurm job."""
    node, job_id = os.environ.get("SLURMD_NODENAME"), os.environ.get("SLURM_JOB_ID")
    return f"{node} (SLURM_JOB_ID {job_id})" if node and job_id else host_name()


def boot_id() -> str:
    """Return an identifier of the boot and pid namespace in which pids are unique."""
    parts = []
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def lock_path(worker_dir: Path, name: str) -> Path:
    """Return a worker's lock file."""
    return worker_dir / f"{name}.lock"


def take_lock(worker_dir: Path, name: str) -> Descriptor | None:
    """Lock a worker name and return the descriptor, or None if it is locked.

    Raises
    ------
    BadEnvironment
        The lock file cannot be created: full disk, too many open files.
    """
    path = lock_path(worker_dir, name)
    with _translate_os_error(path):
        try:
            handle = open_locked(path, os.O_RDWR | os.O_CREAT)
        except BlockingIOError:
            return None
        try:
            if not os.fstat(handle).st_size:  # shows a full disk now; a rescuer reads the content of an old file
                os.pwrite(handle, _HEARTBEAT.pack(0), 0)
        except BaseException:
            os.close(handle)
            raise
        return handle


def is_current(handle: int, worker_dir: Path, name: str) -> bool:
    """Return True if ``handle`` is still the worker's lock file; False if that was removed or replaced."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(lock_path(worker_dir, name)))
    except FileNotFoundError:
        return False


def is_dead(worker_dir: Path, row: WorkerRow) -> bool:
    """Return True if neither the worker nor its supervisor holds the lock; raise BadEnvironment if unknown.

    If the lock file was removed or replaced, a worker or supervisor that has it open is still alive.
    """
    path = lock_path(worker_dir, row.name)
    with _translate_os_error(path), contextlib.suppress(FileNotFoundError):
        handle = open_regular(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
    return not any(_holds_former(pid, path) for pid in (row.pid, row.pool) if pid)


def _holds_former(pid: int, path: Path) -> bool:
    """Return True if a process has a lock file open that was at ``path`` before.

    Without /proc, if it exists and nothing is at ``path``.
    """
    if not os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return not path.exists()
        return False
    with contextlib.suppress(OSError):
        for handle in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{handle}")
                name = os.path.basename(target.removesuffix(_DELETED))
                if name == path.name and (target.endswith(_DELETED) or not _is_of_queue(Path(target))):
                    return True
    return False


def _is_of_queue(lock: Path) -> bool:
    """Return True if a lock file is in the spool of a queue: the pid may be that of a worker of another queue."""
    spool = lock.parent.parent
    return spool.name.endswith("-spool") and spool.with_name(spool.name.removesuffix("-spool")).exists()


@contextlib.contextmanager
def _translate_os_error(path: Path) -> Iterator[None]:
    """Raise BadEnvironment for OSError."""
    try:
        yield
    except OSError as error:
        raise BadEnvironment(f"cannot use {path}: {os_reason(error)}") from error


class Heartbeat:
    """Thread that writes the time into the lock file, whatever the worker is doing."""

    def __init__(self, handle: int) -> None:
        """Write to the lock file ``handle`` once started."""
        self._handle = handle
        self._stop = threading.Event()

    def start(self) -> None:
        """Write the time at once, so that the time without a process does not count, and start the daemon thread."""
        self._write()
        try:
            threading.Thread(target=self._beat, name="queuectl-heartbeat", daemon=True).start()
        except RuntimeError as error:  # without a heartbeat, others would take the worker for frozen and kill its jobs
            msg = "cannot start another thread; raise 'ulimit -u' or the limit of the container (pids.max)"
            raise BadEnvironment(msg) from error

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_INTERVAL_S):
            self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            os.pwrite(self._handle, _HEARTBEAT.pack(boot_clock_ns()), 0)

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()


def _read_heartbeat(worker_dir: Path, name: str) -> int | None:
    """Return a worker's heartbeat, or None if it cannot be read, which says nothing about the worker."""
    try:
        raw = lock_path(worker_dir, name).read_bytes()[: _HEARTBEAT.size]
    except OSError:
        return None
    return _HEARTBEAT.unpack(raw)[0] if len(raw) == _HEARTBEAT.size else -1


@dataclass
class FreezeDetector:
    """Detects workers whose heartbeat has stopped, timed on the observer's monotonic clock."""

    worker_dir: Path
    unchanged: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Last heartbeat of each worker, and the seconds for which it has not changed."""
    last_check: float = float("inf")

    def find_frozen(self, names: Iterable[str], now: float, lease: float, interval: float) -> list[str]:
        """Return the workers whose heartbeat has not changed for more than ``lease`` seconds.

        ``now`` is the observer's monotonic time and ``interval`` its check interval. A late check counts as one
        interval: the observer was suspended or delayed itself, perhaps together with the workers.
        """
        elapsed = min(now - self.last_check, interval)
        self.last_check = now
        previous, self.unchanged = self.unchanged, {}
        for name in names:
            written = _read_heartbeat(self.worker_dir, name)
            if written is not None:
                last, seconds = previous.get(name, (None, 0.0))
                self.unchanged[name] = (written, seconds + elapsed if written == last else 0.0)
        return [name for name, (_, seconds) in self.unchanged.items() if seconds > lease]

    def frozen_s(self, name: str) -> float:
        """Return the seconds for which a worker's heartbeat had not changed at the last check."""
        return self.unchanged.get(name, (0, 0.0))[1]

    def forget(self, name: str) -> None:
        """Reset the time for which a worker has been unchanged, because its process is replaced."""
        self.unchanged.pop(name, None)
