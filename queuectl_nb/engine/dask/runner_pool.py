"""The runner processes of an agent: started on demand, reused, and closed when no slot is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask.channel import Channel
from queuectl_nb.engine.dask.messages import Ended, Unstarted
from queuectl_nb.engine.process_tree import TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from queuectl_nb.engine.dask.messages import LeaseRenewal, RunJob, Terminate

__all__ = ["RunnerClient", "RunnerPool"]

EXIT_TIMEOUT_S = 5.0
"""How long to wait for a runner to exit."""


class RunnerClient:
    """A runner process and the channel to it."""

    def __init__(self, folder: str, db: str, mark: str) -> None:
        """Start a runner that keeps its files in ``folder``; ``mark`` in its environment identifies it.

        Raises OSError if no process can be started.
        """
        self.folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        ours, theirs = socket.socketpair()
        config = {
            "folder": folder,
            "db": db,
            "channel": theirs.fileno(),
            "path": [entry for entry in sys.path if entry and os.path.isdir(entry)],
        }
        entry = os.path.join(os.path.dirname(os.path.dirname(__file__)), "__main__.py")
        self.channel = Channel(ours)
        try:
            self.process = subprocess.Popen(
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

    def close(self) -> None:
        """Close the channel, upon which the runner kills its command and exits, and wait for that."""
        self.channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(EXIT_TIMEOUT_S)


class RunnerPool:
    """The runners of one agent."""

    def __init__(self, folder: str, db: str, mark: str) -> None:
        """Give each runner its own folder inside ``folder``."""
        self.folder = folder
        self._db = db
        self._mark = mark
        self._lock = threading.Lock()
        self._idle: list[RunnerClient] = []
        self._started = 0
        self._closed: set[str] = set()
        """Folders of closed runners."""

    def take(self) -> RunnerClient:
        """Return an idle runner, or start one."""
        while True:
            with self._lock:
                runner = self._idle.pop() if self._idle else None
                if runner is None:
                    self._started += 1
                    number = self._started
            if runner is None:
                return RunnerClient(f"{self.folder}/{number}", self._db, self._mark)
            if runner.process.poll() is None:
                return runner
            self.close(runner)

    def close(self, runner: RunnerClient) -> None:
        """Close a runner; its folder is removed once nothing in it is needed."""
        runner.close()
        with self._lock:
            self._closed.add(runner.folder)

    def give_back(self, runner: RunnerClient) -> None:
        """Keep a runner for the next command."""
        with self._lock:
            self._idle.append(runner)

    def close_idle(self, needed: Iterable[str] = ()) -> None:
        """Close all idle runners and remove their folders, except the ``needed`` ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for runner in idle:
            self.close(runner)
        self.remove_closed(needed)

    def remove_closed(self, needed: Iterable[str]) -> None:
        """Remove the folders of closed runners, except the ``needed`` ones."""
        with self._lock:
            if self._closed:
                for folder in self._closed.difference(needed):
                    shutil.rmtree(folder, ignore_errors=True)
                    self._closed.discard(folder)
