"""A worker as its supervisor sees it: name, lock, process and restart backoff."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    from queuectl_nb.engine.config import WorkerConfig
    from queuectl_nb.engine.events import Events

__all__ = ["ENTRY_POINT", "WorkerProcess", "command_line"]

ENTRY_POINT = os.path.join(os.path.dirname(__file__), "__main__.py")
STABLE_AFTER_S = 10.0
"""Lifetime after which a death counts as the first again."""
MAX_RESTART_DELAY_S = 30.0
"""Longest delay before a worker that keeps dying is restarted."""


def command_line(role: str, config: WorkerConfig) -> list[str]:
    """Return the command that runs ``role`` in a process of its own."""
    return [sys.executable, "-I", "-S", ENTRY_POINT, role, config.to_json()]


class WorkerProcess:
    """One worker of a supervisor, which holds the worker's lock as long as it lives.

    Attributes
    ----------
    process
        The running process, or None.
    restart_at
        Monotonic time before which the worker is not restarted.
    settle_at
        Monotonic time before which settling its attempts is not retried.
    settled
        Whether all attempts of the last process are settled.
    retiring
        Whether it is not restarted once its attempts are settled.
    stop_requested
        Whether the supervisor killed it because it had been asked to stop.
    ended
        Whether the supervisor is done with it.
    """

    def __init__(self, name: str, lock: int) -> None:
        """Hold ``lock`` for the worker ``name``; :meth:`start` runs it."""
        self.name = name
        self.lock = lock
        self.process: subprocess.Popen[bytes] | None = None
        self.restart_at = 0.0
        self.settle_at = 0.0
        self.settled = True
        self.retiring = False
        self.stop_requested = False
        self.ended = False
        self._started_at = 0.0
        self._deaths = 0

    def start(self, config: WorkerConfig, events: Events) -> int | None:
        """Start the process, which inherits the lock and the event pipe and reads control words on its stdin.

        Return its pid, or None if the system has no room for another process, which counts as a death.
        """
        config = config.for_worker(self.name, self.lock, replacement=self._deaths > 0)
        self._started_at = time.monotonic()
        try:
            self.process = subprocess.Popen(
                command_line("dispatcher" if config.dask else "worker", config),
                stdin=subprocess.PIPE,
                pass_fds=(self.lock,),
                bufsize=0,
            )
        except OSError as error:
            self._schedule_restart(f"not started: {error.strerror}", events)
            return None
        events.emit("worker_started", worker=self.name, pid=self.process.pid)
        return self.process.pid

    def send(self, word: str) -> None:
        """Send a control word (``drain``, ``now``, ``orphaned``) to the process; if it is dead, skip the delay."""
        if self.process is None:
            self.restart_at = 0.0
        elif self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.write(f"{word}\n".encode())

    def on_exit(self, events: Events, *, stopping: bool, gone: bool) -> int:
        """Record the exit of the process, decide whether and when it is restarted, and return its exit code.

        ``gone`` means that the database file has been removed. Otherwise a replacement that could not use the file
        (for example because of a full disk) is retried; the failure of the first process is reported to the starter.
        """
        if self.process is None or self.process.returncode is None:
            msg = f"{self.name} is still running"
            raise RuntimeError(msg)
        code: int = self.process.returncode
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None
        self.settled = False
        self.settle_at = self.restart_at = 0.0
        unusable = code == BadEnvironment.exit_code and (gone or not self._deaths)
        self.retiring = self.stop_requested or code == 0 or unusable
        if not self.retiring and not stopping:
            why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self._schedule_restart(why, events)
        return code

    def inherit_backoff(self, other: WorkerProcess) -> None:
        """Replace ``other``, which is not restarted itself, and continue its restart backoff."""
        self._deaths, self.restart_at = other._deaths, other.restart_at
        other.retiring = True

    def _schedule_restart(self, why: str, events: Events) -> None:
        """Count a death: restart at once the first time, then with a doubling delay."""
        stable = time.monotonic() - self._started_at > STABLE_AFTER_S
        self._deaths = 1 if stable else self._deaths + 1
        delay = 0.0 if self._deaths == 1 else min(MAX_RESTART_DELAY_S, 0.1 * 2 ** (self._deaths - 2))
        self.restart_at = time.monotonic() + delay
        events.emit("worker_died", worker=self.name, why=why, restart_in=delay)
