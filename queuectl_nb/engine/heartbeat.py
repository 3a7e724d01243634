"""Who is alive, told without a clock: a worker's lock file is flock'ed by the worker and by its pool.

The file's first eight bytes are the worker's heartbeat, a counter that a thread of it raises: written in place, it
needs neither the database nor free disk, so a busy or full queue never makes a living worker look dead. Watchers time
the counter on their own monotonic clock, and forget what they know after a gap in their own time: a suspended laptop,
a stopped process group or a moved clock makes nobody look frozen. After them stands the token of the attempt that the
worker started last, so that whoever settles in its place knows what had begun.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "FreezeDetector",
    "Heartbeat",
    "boot",
    "current_token",
    "host",
    "is_dead",
    "lock_path",
    "record_current_attempt",
    "take_lock",
]

_BEAT = struct.Struct("<Q")
BEAT = 0.5
"""Seconds between beats: four in the shortest lease."""


def host() -> str:
    """Return this host's name."""
    return socket.gethostname()


def boot() -> str:
    """Return what a pid is relative to: this boot, and this pid namespace."""
    parts = []
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def lock_path(worker_dir: Path, name: str) -> Path:
    """Return a worker's lock file."""
    return worker_dir / f"{name}.lock"


def take_lock(worker_dir: Path, name: str) -> int | None:
    """Lock a worker's name and return the descriptor; None while somebody holds it.

    Raises
    ------
    BadEnvironment
        The lock file cannot be made (a full disk, too many open files).
    """
    path = lock_path(worker_dir, name)
    with _translate_os_error(path):
        handle = open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(handle, _BEAT.pack(0), 0)
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        return handle


def record_current_attempt(handle: int, token: str) -> None:
    """Write down which attempt is about to be started; the kernel keeps it whatever happens to this process."""
    os.pwrite(handle, token.encode("ascii"), _BEAT.size)


def current_token(worker_dir: Path, name: str) -> str:
    """Return the token of the attempt that the worker started last; empty where it started none.

    Raises OSError where the file is there and cannot be read: what had begun must not be taken for unstarted.
    """
    try:
        return lock_path(worker_dir, name).read_bytes()[_BEAT.size :].decode("ascii", "replace")
    except FileNotFoundError:
        return ""


def is_dead(worker_dir: Path, name: str) -> bool:
    """Tell whether neither the worker nor its pool holds the name's lock; BadEnvironment where that cannot be seen."""
    path = lock_path(worker_dir, name)
    with _translate_os_error(path):
        try:
            handle = open_regular(path, os.O_RDONLY)
        except FileNotFoundError:
            return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


@contextlib.contextmanager
def _translate_os_error(path: Path) -> Iterator[None]:
    """Turn what the system says about a lock file into an error of ours."""
    try:
        yield
    except OSError as error:
        msg = f"cannot use {path}: {error.strerror}"
        raise BadEnvironment(msg) from error


class Heartbeat:
    """A thread that raises the counter in a worker's lock file, whatever the worker itself is busy with."""

    def __init__(self, handle: int) -> None:
        """Beat in the file behind ``handle``; call :meth:`start`."""
        self._handle = handle
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin to beat; the thread ends with the process."""
        threading.Thread(target=self._beat, name="queuectl-heartbeat", daemon=True).start()

    def _beat(self) -> None:
        count = 0
        while not self._stop.wait(BEAT):
            count += 1
            with contextlib.suppress(OSError):
                os.pwrite(self._handle, _BEAT.pack(count), 0)

    def stop(self) -> None:
        """Stop beating."""
        self._stop.set()


def _beat_of(worker_dir: Path, name: str) -> int | None:
    """Return a worker's counter; None where it cannot be read, which says nothing about the worker."""
    try:
        raw = lock_path(worker_dir, name).read_bytes()[: _BEAT.size]
    except OSError:
        return None
    return _BEAT.unpack(raw)[0] if len(raw) == _BEAT.size else -1


@dataclass
class FreezeDetector:
    """A watcher's memory of heartbeats, on its own monotonic clock."""

    worker_dir: Path
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    last_look: float | None = None

    def frozen(self, names: Iterable[str], now: float, lease: float, pace: float) -> list[str]:
        """Return the workers whose counter stood still for longer than ``lease`` seconds.

        ``now`` is the watcher's monotonic time and ``pace`` how often it means to look: after a gap of more than
        three paces it was itself asleep, and starts counting anew.
        """
        if self.last_look is not None and now - self.last_look > 3 * pace:
            self.seen.clear()
        self.last_look = now
        found = []
        kept = {}
        for name in names:
            beat = _beat_of(self.worker_dir, name)
            if beat is None:
                continue
            known = self.seen.get(name)
            if known is None or known[0] != beat:
                kept[name] = (beat, now)
            else:
                kept[name] = known
                if now - known[1] > lease:
                    found.append(name)
        self.seen = kept
        return found
