"""Starts the process of a supervisor and keeps its events: lines of JSON that the pool writes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask.cluster import SECURITY_VARIABLE
from queuectl_nb.engine.worker_process import command_line
from queuectl_nb.model.errors import BadEnvironment, QueuectlError
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuectl_nb.engine.config import WorkerConfig

__all__ = ["Event", "UnreadEvents", "error_of", "parse_event", "start_supervisor"]

MAX_LINES = 10_000
"""Events kept; the oldest are dropped first."""
MAX_BATCH = 4096
"""Maximum number of events in a batch."""
SIGNAL_CHECK_S = 0.5
"""Python handles a signal that arrives right before a wait only after it, so no wait for events is longer."""
Event = dict[str, Any]
PIPE_SIZE_BYTES = 1024 * 1024


def start_supervisor(config: WorkerConfig, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a supervisor with stderr to ``log``; return its process and the pipe from which to read its events."""
    environ = dict(os.environ)
    if config.dask is not None:
        environ[SECURITY_VARIABLE] = config.dask.security or ""
    errors = open_regular(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    read, write = os.pipe()
    with suppress(OSError, AttributeError):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE_BYTES)
    try:
        process = subprocess.Popen(
            command_line("supervisor", config),
            stdin=subprocess.DEVNULL if config.detach else subprocess.PIPE,
            stdout=write,
            stderr=errors,
            cwd=config.db.parent,
            env=environ,
            start_new_session=True,
            bufsize=0,
        )
    except BaseException as error:
        os.close(read)
        if isinstance(error, BlockingIOError):
            msg = "cannot start another process; raise 'ulimit -u' or the limit of the container (pids.max)"
            raise BadEnvironment(msg) from error
        raise
    finally:
        os.close(write)
        os.close(errors)
    return process, read


class UnreadEvents:
    """The latest events that nobody has read; one thread adds them, another reads."""

    def __init__(self) -> None:
        """Start without events."""
        self.max_lines: float = MAX_LINES
        """Changed by a reader that keeps up or wants every event."""
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()

    def put(self, line: bytes) -> None:
        """Add the line of an event."""
        if self._lines.qsize() >= self.max_lines:
            with suppress(Empty):
                self._lines.get_nowait()
        self._lines.put(line)

    def close(self) -> None:
        """End the batches: no more events follow."""
        self._lines.put(None)

    def batches(self) -> Iterator[list[Event]]:
        """Yield the available events, perhaps none, at least every :data:`SIGNAL_CHECK_S` until :meth:`close`."""
        lines: list[bytes | None] = []
        while None not in lines:
            lines.clear()
            with suppress(Empty):
                lines.append(self._lines.get(timeout=SIGNAL_CHECK_S))
                while len(lines) < MAX_BATCH:
                    lines.append(self._lines.get_nowait())
            yield [event for line in lines if line is not None for event in parse_event(line)]


def parse_event(line: bytes) -> list[Event]:
    """Return the event in a line; none if another program has printed it."""
    with suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and "event" in event:
            return [event]
    return []


def error_of(failure: Event) -> QueuectlError:
    """Return the exception for a ``failed`` event."""
    for kind in QueuectlError.__subclasses__():
        if kind.exit_code == failure["exit_code"]:
            return kind(failure["text"])
    return BadEnvironment(failure["text"])
