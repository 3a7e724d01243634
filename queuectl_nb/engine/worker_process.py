"""One worker of a pool: its name and lock, its process where it runs, and when a dead one is replaced."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    from queuectl_nb.engine.events import Events

__all__ = ["WorkerProcess"]

STEADY = 10.0
"""Seconds a worker must have lived for its death to count as the first."""
LONGEST_PAUSE = 30.0
"""Seconds at most before a worker that keeps dying is started again."""


class WorkerProcess:
    """A worker as its pool sees it; the pool holds the lock for as long as it lives itself."""

    def __init__(self, name: str, lock: int) -> None:
        """Hold ``lock`` for the worker ``name``, which is not started yet."""
        self.name = name
        self.lock = lock
        self.process: subprocess.Popen[bytes] | None = None
        self.restart_at = 0.0
        """Monotonic seconds before which it is not started again."""
        self.ended = False
        """Whether the pool is done with it."""
        self.settled = True
        """Whether nothing is held any more of what it held when it ended."""
        self.settle_at = 0.0
        """Monotonic seconds before which settling is not tried again."""
        self.goodbye = False
        """Whether it is not replaced once what it held is settled."""
        self.dismissed = False
        """Whether it was ended because it had been asked to stop."""
        self._started = 0.0
        self._deaths = 0

    def start(self, config: dict[str, Any], events: Events) -> int | None:
        """Start its process, which inherits the lock and the pipe of events, and hears the pool on its stdin.

        Returns its pid; None where the machine has no room for one more process, which counts as a death.
        """
        config = {**config, "name": self.name, "lock": self.lock, "parent": os.getpid()}
        role = "worker"
        if config.get("dask"):
            role, config["dask"] = "dispatcher", {**config["dask"], "patient": self._deaths > 0}
        entry = os.path.join(os.path.dirname(__file__), "__main__.py")
        self._started = time.monotonic()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", entry, role, json.dumps(config)],
                stdin=subprocess.PIPE,
                pass_fds=(self.lock,),
                bufsize=0,
            )
        except OSError as error:
            self._plan(f"not started: {error.strerror}", events)
            return None
        events.emit("worker_started", worker=self.name, pid=self.process.pid)
        return self.process.pid

    def tell(self, word: str) -> None:
        """Pass a word (``drain``, ``now``, ``orphaned``) on to it; one that is dead waits for nothing any more."""
        if self.process is None:
            self.restart_at = 0.0
        elif self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.write(f"{word}\n".encode())

    def bury(self, events: Events, *, stopping: bool, gone: bool) -> int:
        """Take note of its process's end, decide whether and when it is replaced, and return its exit code.

        ``gone`` tells that the queue's file is not there any more. Otherwise one that took a dead worker's place and
        could not use the file (a full disk, say) is tried again; the first one's failure is the starter's to see.
        """
        if self.process is None or self.process.returncode is None:
            msg = f"{self.name} has not ended"
            raise RuntimeError(msg)
        code: int = self.process.returncode
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None
        self.settled = False
        self.settle_at = self.restart_at = 0.0
        self.goodbye = self.dismissed or code == 0 or (code == BadEnvironment.exit_code and (gone or not self._deaths))
        if not self.goodbye and not stopping:
            self._plan(f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}", events)
        return code

    def _plan(self, why: str, events: Events) -> None:
        """Plan its next start after a death."""
        pause = self._pause()
        self.restart_at = time.monotonic() + pause
        events.emit("worker_died", worker=self.name, why=why, restart_in=pause)

    def succeed(self, other: WorkerProcess) -> None:
        """Begin where ``other`` ended, which is not replaced itself."""
        self._deaths, self.restart_at = other._deaths, other.restart_at
        other.goodbye = True

    def _pause(self) -> float:
        """Count a death and return the seconds until it is replaced: at once, then longer if it keeps dying."""
        steady = time.monotonic() - self._started > STEADY
        self._deaths = 1 if steady else self._deaths + 1
        return 0.0 if self._deaths == 1 else min(LONGEST_PAUSE, 0.1 * 2 ** (self._deaths - 2))
