"""``worker start`` in the foreground: prints worker events and forwards signals to the pool.

Short jobs produce thousands of lines a second, so lines are written in batches.
"""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from queuectl_nb.cli.stdio import handled_signals, interrupts, redirect_stdout_to_null
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.times import format_time
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from queuectl_nb.client.pool import WorkerPool

    Event = Mapping[str, Any]

__all__ = ["event_lines", "follow_pool"]

STATUS_BY_OUTCOME = {"succeeded": "SUCCESS", "cancelled": "CANCELLED", "returned": "RETURNED"}
"""All other outcomes are FAILED."""
STUCK_AFTER_S = 1.0
"""Time for which output waits for its reader in a signal handler, and once the workers have been stopped."""


def follow_pool(pool: WorkerPool) -> int:
    """Print the events of the workers until they exit; return the exit code of the pool."""
    output = _LineWriter()
    if pool.detach:
        output.write([*_start_lines(pool), *(f"[{name}] Starting..." for name in pool.names)])
        return 0
    pool.unread.max_lines = math.inf
    with _forward_signals(pool, output):
        output.write(_start_lines(pool))
        for events in pool.unread.batches():
            lines: list[str] = []
            warnings: list[str] = []
            for event in events:
                (warnings if event["event"] in ("warning", "dropped") else lines).extend(event_lines(event))
            output.write(lines)
            if warnings:
                output.warn(*warnings)
        code = pool.wait()
    if code < 0:
        _warn(f"the worker pool was killed by {signal.Signals(-code).name}")
        return BadEnvironment.exit_code
    return code


def _start_lines(pool: WorkerPool) -> list[str]:
    count = pool.config.count
    ready = f"{len(pool.names)} worker(s) started."
    if pool.config.dask is None:
        return [f"Starting {count} worker(s)...", ready]
    where = pool.config.dask.scheduler or "a local cluster"
    return [f"Starting a dispatcher for {count} concurrent job(s) on dask ({where})...", ready]


class _LineWriter:
    """Writes to stdout; the workers keep running when its reader goes away."""

    def __init__(self) -> None:
        self.open = True
        self._writing = False

    def write(self, lines: list[str]) -> None:
        """Write the lines with one call."""
        if not self.open or not lines:
            return
        try:
            with self._can_give_up():
                sys.stdout.write("\n".join(lines) + "\n")
                sys.stdout.flush()
        except OSError as error:
            self.open = False
            redirect_stdout_to_null()
            what = "" if isinstance(error, TimeoutError) else "; the workers keep running"
            self.warn(f"further output is lost ({error.strerror}){what}")

    def warn(self, *lines: str) -> None:
        """Write the lines to stderr."""
        with suppress(OSError), self._can_give_up():
            _warn(*lines)

    @contextmanager
    def _can_give_up(self) -> Iterator[None]:
        self._writing = True
        try:
            yield
        finally:
            self._writing = False

    def give_up(self) -> None:
        """Let a write fail that waits for its reader; for a signal handler."""
        if self._writing:
            self._writing = False
            raise TimeoutError(errno.ETIMEDOUT, "it is not read")


def _warn(*lines: str) -> None:
    """Write to stderr without its buffer, which a signal handler may interrupt in the middle of a write."""
    with suppress(OSError):
        os.write(2, "".join(f"queuectl: {line}\n" for line in lines).encode())


@contextmanager
def _forward_signals(pool: WorkerPool, output: _LineWriter) -> Iterator[None]:
    """Stop the pool on signals: gracefully on the first Ctrl+C, at once on the second, on SIGTERM and SIGHUP.

    After a stop at once, output that nobody reads is lost. An ignored SIGHUP stays ignored: nohup asks for that.
    """
    interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        now, interrupted = interrupted, True
        if now:
            stop_now()
        else:
            pool.stop(wait=False)
        ready = select.poll()
        ready.register(2, select.POLLOUT)
        if ready.poll(STUCK_AFTER_S * 1000):
            _warn(
                "stopping; running jobs are killed and returned to the queue"
                if now
                else "stopping after the running jobs; press Ctrl+C again to return them to the queue"
            )

    def stop_now(_number: int = 0, _frame: FrameType | None = None) -> None:
        pool.stop(now=True, wait=False)
        signal.signal(signal.SIGALRM, give_up)  # until now, it repeats an interrupt whose exception was lost
        signal.setitimer(signal.ITIMER_REAL, STUCK_AFTER_S, STUCK_AFTER_S)

    def give_up(_number: int, _frame: FrameType | None) -> None:
        if not pool.alive:
            output.give_up()

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: stop_now}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        handlers[signal.SIGHUP] = stop_now
    with handled_signals(handlers):
        try:
            if interrupts:  # whose exception was lost
                stop_now()
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def event_lines(event: Event) -> list[str]:
    """Return the lines that show an event; none for events that are not shown."""
    worker = event.get("worker")
    lines: list[str] = []
    match event["event"]:
        case "worker_started":
            lines = [f"[{worker}] Starting..."]
        case "started":
            attempt = f"Attempt {event['attempt']} of {event['max_retries']}"
            lines = [
                f"[{worker}] --- STARTING Job: {event['job']} ({attempt}) ---",
                f"[{worker}]   -> Command: {visible(event['command'])}",
            ]
        case "finished":
            lines = _finished_lines(event)
        case "rescued":
            lines = [f"[{worker}] Rescuing stale job: {event['job']} (was locked by {event['was']})"]
        case "worker_died":
            delay = f" in {event['restart_in']:g} seconds" if event["restart_in"] else ""
            lines = [f"[{worker}] Died ({event['why']}); restarting{delay}"]
        case "worker_stopped":
            lines = [f"[{worker}] Stopped."]
        case "warning":
            lines = [visible(f"{worker}: {event['text']}" if worker else event["text"])]
        case "dropped":
            lines = [f"{event['count']} line(s) not shown: output came faster than it was read"]
    return lines


def _finished_lines(event: Event) -> list[str]:
    prefix = f"[{event['worker']}]   -> "
    lines = [f"{prefix}Status: {STATUS_BY_OUTCOME.get(event['outcome'], 'FAILED')}"]
    for stream in ("stdout", "stderr"):
        if event[stream]:
            lines += [f"{prefix}{stream}: {visible(line)}" for line in event[stream].rstrip().split("\n")]
    if event["error"] and event["outcome"] != "succeeded":
        # the error of the attempt stands in for stderr if the command itself wrote nothing there
        failed = event["outcome"] not in STATUS_BY_OUTCOME and not event["stderr"]
        label = "stderr: Command failed" if failed else "Error"
        lines.append(f"{prefix}{label}: {visible(event['error'])}")
    if event["state"] == "failed":
        next_run = (format_time(float(int(event["run_at"]))) or "").replace(".000Z", "Z")  # without milliseconds
        lines.append(f"{prefix}ACTION: Retrying. Next run at {next_run}")
    elif event["state"] == "dead":
        lines.append(f"{prefix}ACTION: Moving to DLQ ({event['reason'] or 'Max retries reached'}).")
    lines.append(f"[{event['worker']}] --- FINISHED Job: {event['job']} ---")
    return lines
