"""``worker start`` in the foreground: the workers' events as lines, and Ctrl+C passed on.

Lines come by the thousand a second from short jobs, so they are written in batches: as many as have come in.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from queuectl_nb.cli.stdio import silence_stdout
from queuectl_nb.cli.worker_events import lines_of
from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from queuectl_nb.commands.results import StartedPool
    from queuectl_nb.engine.pool_handle import PoolHandle

__all__ = ["watch"]

BATCH = 4096
"""Most events written at once."""
AT_ONCE = (signal.SIGTERM, signal.SIGHUP)


def watch(running: StartedPool) -> int:
    """Tell what the workers do until they have ended; return the exit code of their pool."""
    pool = running.pool
    page = _Page()
    page.write(_beginning(running))
    if running.detach:
        page.write([f"[{name}] Starting..." for name in pool.names])
        return 0
    with _signals(pool):
        for events in _batches(pool):
            lines: list[str] = []
            warnings: list[str] = []
            for event in events:
                (warnings if event["event"] in ("warning", "dropped") else lines).extend(lines_of(event))
            page.write(lines)
            if warnings:
                _warn("".join(f"queuectl: {line}\n" for line in warnings))
        code = pool.wait()
    if code < 0:
        _warn(f"queuectl: the worker pool was ended by {signal.Signals(-code).name}\n")
        return BadEnvironment.exit_code
    return code


def _beginning(running: StartedPool) -> list[str]:
    pool = running.pool
    if pool.dask is None:
        return [f"Starting {running.count} worker(s)...", f"{len(pool.names)} worker(s) started."]
    where = pool.dask.scheduler or "a cluster of its own on this host"
    return [
        f"Starting a dispatcher for {running.count} job(s) at a time on dask ({where})...",
        f"{len(pool.names)} worker(s) started.",
    ]


def _batches(pool: PoolHandle) -> Iterator[list[dict[str, Any]]]:
    """Yield events as they have come in, many at a time when there are many, until the pool has ended."""
    inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def pump() -> None:
        for event in pool.events():
            inbox.put(event)
        inbox.put(None)

    threading.Thread(target=pump, name="queuectl-lines", daemon=True).start()
    while (event := inbox.get()) is not None:
        batch = [event]
        while len(batch) < BATCH and not inbox.empty():
            another = inbox.get()
            if another is None:
                inbox.put(None)
                break
            batch.append(another)
        yield batch


class _Page:
    """Stdout; workers go on when nobody reads it any more."""

    def __init__(self) -> None:
        self.open = True

    def write(self, lines: list[str]) -> None:
        """Write lines at once."""
        if not self.open or not lines:
            return
        try:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
        except OSError as error:
            self.open = False
            silence_stdout()
            _warn(f"queuectl: lines are lost from here on ({error.strerror}); the workers go on\n")


def _warn(text: str) -> None:
    """Write to stderr past its buffer: a signal may come in the middle of a write."""
    with suppress(OSError):
        os.write(2, text.encode())


@contextmanager
def _signals(pool: PoolHandle) -> Iterator[None]:
    """Pass on Ctrl+C (finish first; the second time at once), TERM and HUP (at once) for the block."""
    asked = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        now, asked = asked, True
        pool.stop(now=now, wait=False)
        _warn(
            "queuectl: stopping; running jobs are ended and given back\n"
            if now
            else "queuectl: stopping when the running jobs have finished; Ctrl+C once more gives them back\n"
        )

    def terminate(_number: int, _frame: FrameType | None) -> None:
        pool.stop(now=True, wait=False)

    before = {number: signal.signal(number, terminate) for number in AT_ONCE}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
