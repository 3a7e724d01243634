"""Guards in the hands of an agent: started when needed, used again, let go when nobody sits."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from queuectl_nb.engine.dask.channel import Channel
from queuectl_nb.engine.process_tree import TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from queuectl_nb.engine.dask.channel import Message

__all__ = ["RunnerClient", "RunnerPool"]

PATIENCE = 5.0
"""Seconds that a guard may take to leave before nobody waits for it any more."""


class RunnerClient:
    """A guard process and the link to it."""

    def __init__(self, folder: str, db: str, mark: str) -> None:
        """Start a guard with ``folder`` for its files; ``mark`` stands in its environment, so that it can be found.

        Raises OSError where there is no room for one more process.
        """
        self.folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        ours, its = socket.socketpair()
        config = {
            "folder": folder,
            "db": db,
            "link": its.fileno(),
            "path": [entry for entry in sys.path if entry and os.path.isdir(entry)],
        }
        entry = os.path.join(os.path.dirname(os.path.dirname(__file__)), "__main__.py")
        self.link = Channel(ours)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", entry, "guard", json.dumps(config)],
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                env={**os.environ, TOKEN_VARIABLE: mark},
                start_new_session=True,
            )
        except BaseException:
            self.link.close()
            raise
        finally:
            its.close()

    def run(self, order: Message) -> Iterator[Message]:
        """Have a command run and yield what the guard tells, its end last; without that end, the guard died."""
        try:
            self.link.send(order)
        except OSError:
            return
        while (messages := self.link.receive()) is not None:
            for message in messages:
                yield message
                if message["what"] == "ended":
                    return

    def tell(self, message: Message) -> None:
        """Send a word while the command runs; a guard that is gone will be noticed elsewhere."""
        with contextlib.suppress(OSError):
            self.link.offer(message)

    def close(self) -> None:
        """Let it go: it ends what it runs, and itself, which is waited for."""
        self.link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)


class RunnerPool:
    """The guards of one agent."""

    def __init__(self, folder: str, db: str, mark: str) -> None:
        """Give each guard a folder of its own in ``folder``."""
        self.folder = folder
        self._db = db
        self._mark = mark
        self._lock = threading.Lock()
        self._idle: list[RunnerClient] = []
        self._made = 0

    def take(self) -> RunnerClient:
        """Return a guard that is free, a new one where none is."""
        while True:
            with self._lock:
                guard = self._idle.pop() if self._idle else None
                if guard is None:
                    self._made += 1
                    number = self._made
            if guard is None:
                return RunnerClient(f"{self.folder}/{number}", self._db, self._mark)
            if guard.process.poll() is None:
                return guard
            guard.close()

    def give_back(self, guard: RunnerClient) -> None:
        """Keep a guard for the next command."""
        with self._lock:
            self._idle.append(guard)

    def close_idle(self, needed: Collection[str] = ()) -> None:
        """Let all go that run nothing, with their folders but those that are still ``needed``."""
        with self._lock:
            idle, self._idle = self._idle, []
        for guard in idle:
            guard.close()
            if guard.folder not in needed:
                shutil.rmtree(guard.folder, ignore_errors=True)
