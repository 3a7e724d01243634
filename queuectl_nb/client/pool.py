"""A worker pool as seen by the process that started it: a console, a script or a kernel."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import signal
import subprocess
import threading
import time
import traceback
from collections import deque
from dataclasses import replace
from itertools import chain
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from queuectl_nb.client.workers import list_workers, stop_and_wait
from queuectl_nb.engine.dask.cluster import SECURITY_VARIABLE
from queuectl_nb.engine.forced_stop import read_kill_grace
from queuectl_nb.engine.worker_process import command_line
from queuectl_nb.model.errors import BadEnvironment, QueuectlError, WaitTimeout
from queuectl_nb.store.paths import real_path, spool_dir
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.engine.config import WorkerConfig
    from queuectl_nb.render.card_parts import Rendering

__all__ = ["WorkerPool"]

START_TIMEOUT_S = 60.0
ABORT_TIMEOUT_S = 8.0
"""How long a supervisor whose start failed may take to end; it needs five seconds at most."""
PIPE_SIZE_BYTES = 1024 * 1024
MAX_UNREAD_EVENTS = 10_000
"""Events kept for :meth:`WorkerPool.events`; the oldest are dropped first."""
MAX_BATCH = 4096
"""Maximum number of events in a batch."""
SIGNAL_CHECK_S = 0.5
"""Python handles a signal that arrives right before a wait only after it, so no wait for events is longer."""
MAX_TROUBLES = 20
RESERVED_FILES = 40
"""Open files that a supervisor needs besides those for its workers, and more than a worker needs.

Counted in ``/proc/PID/fd`` with 1, 4 and 12 workers: a supervisor has 14, and 3 more while it starts a worker; a worker
has 21, and up to 26 for moments. The rest is for rescues, which open the files of a lost worker.
"""
FILES_PER_WORKER = 2
"""The lock file and the control pipe."""
STOP_TIMEOUT_S = 0.5
"""Time after which workers that have to stop now are stopped in the same way as by ``worker stop --now``."""
KILL_MARGIN_S = 3.5
"""Time beyond the kill grace after which a supervisor that does not end is killed."""
PER_JOB_EVENTS = (b'{"event":"started"', b'{"event":"finished"')
"""Beginnings of the lines that only a reader of events needs."""
Event = dict[str, Any]


class WorkerPool:
    """A supervisor process and its workers, started by :meth:`start`.

    The supervisor has a session of its own, so that an interrupt of the kernel or terminal does not reach it. Unless
    ``config.detach`` is set, it ends within five seconds when this process ends, detected through a pipe and a pidfd.

    Attributes
    ----------
    names
        Names of the workers.
    troubles
        The latest deaths and warnings, as text.
    """

    def __init__(self, queue: Queue, config: WorkerConfig, on_event: Callable[[Event], None] | None = None) -> None:
        """Prepare a pool on ``queue``; ``on_event`` is called in a thread with each event."""
        self._queue = queue
        self.config = config
        self.path = config.db
        self.detach = config.detach
        self.names: list[str] = []
        self.troubles: deque[str] = deque(maxlen=MAX_TROUBLES)
        self._on_event = on_event
        self._log = spool_dir(real_path(config.db)) / "worker" / "pool.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._events: SimpleQueue[bytes | None] = SimpleQueue()
        self.max_unread_events: float = MAX_UNREAD_EVENTS
        """Changed by a reader that keeps up or wants every event."""
        self._ready = threading.Event()
        self._failure: Event | None = None
        self._stop_enforcer = threading.Thread(target=self._enforce_stop, name="queuectl-stop", daemon=True)
        self._must_end: SimpleQueue[bool] = SimpleQueue()
        """True once the pool has to stop now, False once it has ended."""

    def start(self) -> WorkerPool:
        """Start the supervisor and wait until its workers are registered; raise its error if it fails."""
        self._fit_open_files()
        environ = dict(os.environ)
        if self.config.dask is not None:
            environ[SECURITY_VARIABLE] = self.config.dask.security or ""
        self._queue.store.db.make_directories()  # someone may have removed them
        errors = open_regular(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        read, write = os.pipe()
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE_BYTES)
        try:
            self._process = subprocess.Popen(
                command_line("supervisor", self.config),
                stdin=subprocess.DEVNULL if self.detach else subprocess.PIPE,
                stdout=write,
                stderr=errors,
                cwd=self.path.parent,
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
        try:
            threading.Thread(target=self._read, args=(read,), name="queuectl-events", daemon=True).start()
            self._stop_enforcer.start()
            self._await_ready()
        except BaseException:
            self._abort()
            raise
        return self

    def _fit_open_files(self) -> None:
        """Start no more workers than the limit of open files allows; raise BadEnvironment if it allows none."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        fit = (limit - RESERVED_FILES) // FILES_PER_WORKER
        if limit == resource.RLIM_INFINITY or fit >= self.config.processes:
            return
        if fit < 1:
            msg = f"too few open files: 'ulimit -n' is {limit}; it must be {RESERVED_FILES + FILES_PER_WORKER} or more"
            raise BadEnvironment(msg)
        self._warn(f"only {fit} of {self.config.count} workers fit: 'ulimit -n' is {limit}; raise it to start more")
        self.config = replace(self.config, count=fit)

    def _warn(self, text: str) -> None:
        """Report a warning of this process like one of the workers."""
        line = json.dumps({"event": "warning", "worker": "pool", "text": text}).encode()
        self._handle_event(json.loads(line))
        if self._on_event is None:
            self._store_line(line)

    def _abort(self) -> None:
        """End a pool that did not start: nobody would stop it later."""
        if self.process.stdin is None:
            self.process.terminate()
        self._close_pipe()  # the supervisor takes that for the death of its starter
        try:
            self.process.wait(ABORT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()  # upon which its workers end by themselves
            self.process.wait()

    def _await_ready(self) -> None:
        self._ready.wait(START_TIMEOUT_S)
        if self._failure is not None:
            raise _error(self._failure)
        if not self.names or not self._ready.is_set():
            raise BadEnvironment(f"the worker pool did not start; see {self._log}")

    def _read(self, handle: int) -> None:
        """Read events until the last process that writes any has ended; runs in a thread."""
        with os.fdopen(handle, "rb") as lines:
            for line in lines:
                # two lines a job, mostly unread: parsing them would double the cost of this thread
                if self._on_event is not None or not line.startswith(PER_JOB_EVENTS):
                    for event in _parse(line):
                        self._handle_event(event)
                if self._on_event is None:
                    self._store_line(line)
                if self.detach and self._ready.is_set():
                    break
        self._ready.set()
        if not self.detach:
            self._must_end.put(False)
        self._events.put(None)

    def _enforce_stop(self) -> None:
        """Stop the workers without their supervisor if it does not end in time; runs in a thread.

        A thread of its own, because :meth:`stop` may be called by a signal handler.
        """
        if not self._must_end.get() or self._has_ended(STOP_TIMEOUT_S):
            return
        kill_at = time.monotonic() + read_kill_grace(self._queue.store) + KILL_MARGIN_S
        with contextlib.suppress(QueuectlError):
            stop_and_wait(self._queue.store, self.names, now=True)
        self._queue.close()  # the connection of this thread
        if not self._has_ended(max(0.0, kill_at - time.monotonic())):
            self._warn("the supervisor does not respond and was killed; the next workers record what is missing")
            self.process.kill()

    def _has_ended(self, timeout: float) -> bool:
        """Wait for the supervisor and return whether it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        return not self.alive

    def _handle_event(self, event: Event) -> None:
        if event["event"] == "pool_ready":
            self.names = event["workers"]
            if self.config.dask is None:
                self._ready.set()
        elif event["event"] == "connected":
            self._ready.set()
        elif event["event"] == "worker_started" and self.names and event["worker"] not in self.names:
            self.names.append(event["worker"])
        elif event["event"] == "failed":
            self._failure = event
            self._ready.set()
        elif event["event"] == "worker_died":
            self.troubles.append(f"{event['worker']} died ({event['why']}) and is replaced")
        elif event["event"] == "warning":
            self.troubles.append(f"{event.get('worker') or 'pool'}: {event['text']}")
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:  # noqa: BLE001 - a bug of the caller must not end this thread
                traceback.print_exc()

    def _store_line(self, line: bytes) -> None:
        """Keep an event for :meth:`events`."""
        if self._events.qsize() >= self.max_unread_events:
            with contextlib.suppress(Empty):
                self._events.get_nowait()
        self._events.put(line)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor's process."""
        if self._process is None:
            raise RuntimeError("the pool was not started")
        return self._process

    @property
    def pid(self) -> int:
        """Pid of the supervisor."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the supervisor is running."""
        return self.process.poll() is None

    @property
    def workers(self) -> list[dict[str, Any]]:
        """Live workers of the pool, in the shape of ``worker list --json``."""
        return [worker for worker in list_workers(self._queue.store) if self.alive and worker["name"] in self.names]

    def events(self) -> Iterator[Event]:
        """Yield events until the pool has ended; not available with ``on_event``."""
        return chain.from_iterable(self.event_batches())

    def event_batches(self) -> Iterator[list[Event]]:
        """Yield the available events, perhaps none, at least every :data:`SIGNAL_CHECK_S` until the pool has ended."""
        lines: list[bytes | None] = []
        while None not in lines:
            lines.clear()
            with contextlib.suppress(Empty):
                lines.append(self._events.get(timeout=SIGNAL_CHECK_S))
                while len(lines) < MAX_BATCH:
                    lines.append(self._events.get_nowait())
            yield [event for line in lines if line is not None for event in _parse(line)]

    def stop(self, *, now: bool = False, wait: bool = True, timeout: float | None = None) -> None:
        """Stop the workers after their current jobs; with ``now``, return the jobs instead.

        A detached pool has no control pipe, so it is stopped by a signal. With ``now`` it ends within the setting
        ``kill_grace`` and five seconds, whatever happens; results that cannot be recorded stay in the journal.
        """
        if now:
            self._must_end.put(True)
        if not self.alive:
            self._close_pipe()
            return
        if self.process.stdin is None:
            self.process.send_signal(signal.SIGTERM if now else signal.SIGINT)
        else:
            with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
                self.process.stdin.write(b"now\n" if now else b"drain\n")
        if wait:
            self.wait(timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all workers have ended and return the exit code; raise ``WaitTimeout`` at ``timeout``."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise WaitTimeout(f"the workers have not ended after {timeout:g} seconds") from None
        self._must_end.put(False)
        self._stop_enforcer.join()
        self._close_pipe()
        return code

    def _close_pipe(self) -> None:
        """Close the control pipe of a pool that has ended."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def __enter__(self) -> Self:
        """Return the pool; it is stopped at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers; with ``now`` if the block raised."""
        self.stop(now=kind is not None)

    def __repr__(self) -> str:
        state = "running" if self._process is not None and self.alive else "ended"
        kind = " detached" if self.detach else ""
        return f"<Pool {state}{kind}: {', '.join(self.names) or self.config.count} on {self.path}>"

    def _card(self) -> Rendering:
        """Return the workers as HTML, and the pool in a line of text."""
        from queuectl_nb.render.card_parts import Rendering
        from queuectl_nb.render.cards import pool_card, short_path

        state = "running" if self.alive else "ended"
        title = f"{'Detached w' if self.detach else 'W'}orkers on {short_path(self.path)}"
        workers = []
        with contextlib.suppress(QueuectlError):  # the file of the queue was deleted
            workers = self.workers
        html = pool_card(title, state, workers, self.troubles).html
        return Rendering(html, repr(self).replace(str(self.path), short_path(self.path)))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Return a static card; when a cell displays it, it is updated until the pool has ended."""
        from queuectl_nb.client import display_hook

        display_hook.install()
        return {"text/html": self._repr_html_()}, display_hook.make_mark(self, "")

    def _repr_html_(self) -> str:
        return self._card().html

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self._card().text)


def _parse(line: bytes) -> list[Event]:
    """Return the event in a line; none if another program has printed it."""
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and "event" in event:
            return [event]
    return []


def _error(failure: Event) -> QueuectlError:
    """Return the exception for a ``failed`` event."""
    for kind in QueuectlError.__subclasses__():
        if kind.exit_code == failure["exit_code"]:
            return kind(failure["text"])
    return BadEnvironment(failure["text"])
