"""The agent's side of a runner process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask.channel import Channel
from queuectl_nb.engine.dask.messages import Ended, Unstarted
from queuectl_nb.engine.dask.recovery import remove_runner
from queuectl_nb.engine.proc_files import TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.engine.dask.messages import LeaseRenewal, RunJob, Terminate

__all__ = ["RunnerClient"]

EXIT_TIMEOUT_S = 5.0
"""How long to wait for a runner to exit."""


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
        self.channel = Channel(ours)
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
