"""The agent's side of a runner process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask.channel import Channel
from queuectl_nb.engine.dask.messages import Ended, Unstarted
from queuectl_nb.engine.dask.recovery import remove_runner
from queuectl_nb.engine.heartbeat import boot_clock
from queuectl_nb.engine.proc_files import TOKEN_VARIABLE
from queuectl_nb.engine.process_tree import is_suspended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.engine.dask.messages import LeaseRenewal, RunJob, Terminate

__all__ = ["RunnerClient", "RunnerPool"]

RUNNER_IDLE_S = 30.0
"""How long a runner waits for another job, with the fork servers that it has started."""
EXIT_TIMEOUT_S = 5.0
"""How long to wait for a runner to exit."""
MAX_STOPS = 5
"""How often a runner that was stopped may continue."""


class RunnerClient:
    """A runner process and the channel to it."""

    def __init__(self, folder: str, name: str, db: str, mark: str) -> None:
        """Start a runner that keeps its files in ``folder``; ``mark`` in its environment identifies it.

        Raises OSError if no process can be started.
        """
        self.folder = folder
        self.name = name
        os.makedirs(folder, mode=0o700, exist_ok=True)  # a command may have removed it
        ours, theirs = socket.socketpair()
        config = {
            "folder": folder,
            "name": name,
            "db": db,
            "channel": theirs.fileno(),
            "path": [entry for entry in sys.path if entry and os.path.isdir(entry)],
        }
        entry = os.path.join(os.path.dirname(os.path.dirname(__file__)), "__main__.py")
        self.channel = Channel(ours, self._resume)
        self._stops = 0
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", entry, "runner", json.dumps(config)],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, TOKEN_VARIABLE: mark},
                start_new_session=True,
            )
        except BaseException:
            self.channel.close()
            raise
        finally:
            theirs.close()

    @property
    def returncode(self) -> int | None:
        """The exit code of the process; None while it runs."""
        return self._process.poll()

    def _resume(self) -> None:
        """Let a runner that was stopped continue; kill it if something, such as its job, stops it again and again."""
        if is_suspended(self._process.pid):
            self._stops += 1
            self._process.send_signal(signal.SIGCONT if self._stops <= MAX_STOPS else signal.SIGKILL)

    def run(self, job: RunJob) -> Iterator[Any]:
        """Run a command and yield the runner's messages, its end last; the end is missing if the runner died."""
        try:
            self.channel.send(job)
        except OSError:
            return
        while (messages := self.channel.receive()) is not None:
            for message in messages:
                yield message
                if isinstance(message, Ended | Unstarted):
                    return

    def send(self, message: LeaseRenewal | Terminate) -> None:
        """Send a message while a command runs. The death of the runner is noticed by :meth:`run`."""
        with contextlib.suppress(OSError):
            self.channel.offer(message)

    def stop(self) -> None:
        """Close the channel, and wait until the runner has killed its command and exited."""
        self.channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_TIMEOUT_S)

    def close(self) -> None:
        """Stop the runner and remove its files, but not those of attempts."""
        self.stop()
        remove_runner(self.folder, self.name)


class RunnerPool:
    """The idle runners of an agent. Slots come and go, but a new runner and its fork server take a second."""

    def __init__(self, folder: str, db: str, mark: str) -> None:
        """Start runners with these arguments of :class:`RunnerClient`."""
        self._folder, self._db, self._mark = folder, db, mark
        self._lock = threading.Lock()
        self._started = 0
        self._idle: list[tuple[float, RunnerClient]] = []
        """Each with the time until which it waits, the one that was used last at the end."""
        self._timer: threading.Timer | None = None

    def take(self) -> RunnerClient:
        """Return an idle runner or a new one; raise OSError if none can be started."""
        while True:
            with self._lock:
                if not self._idle:
                    self._started += 1
                    name = f"runner-{self._started}"
                    break
                _, runner = self._idle.pop()
            if runner.returncode is None:
                return runner
            runner.close()
        return RunnerClient(self._folder, name, self._db, self._mark)

    def give(self, runner: RunnerClient) -> None:
        """Keep a runner for the next job."""
        with self._lock:
            self._idle.append((boot_clock() + RUNNER_IDLE_S, runner))
            if self._timer is None:
                self._start_timer(RUNNER_IDLE_S)

    def _start_timer(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._close_idle)
        self._timer.daemon = True
        with contextlib.suppress(RuntimeError):  # no more threads: they stay until the dask worker ends
            self._timer.start()

    def _close_idle(self) -> None:
        """Close the runners that have waited long enough."""
        with self._lock:
            now = boot_clock()
            expired = [runner for until, runner in self._idle if until <= now]
            self._idle = [(until, runner) for until, runner in self._idle if until > now]
            self._timer = None
            if self._idle:
                self._start_timer(self._idle[0][0] - now)
        for runner in expired:
            runner.close()
