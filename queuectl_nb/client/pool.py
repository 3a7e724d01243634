"""A worker pool as seen by the process that started it: a console, a script or a kernel."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import traceback
from collections import deque
from dataclasses import replace
from itertools import chain
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from queuectl_nb.client.card_display import CardDisplay
from queuectl_nb.client.scale import find_pool, scale_pool
from queuectl_nb.client.supervisor_process import UnreadEvents, error_of, parse_event, start_supervisor
from queuectl_nb.client.workers import list_workers, stop_and_wait
from queuectl_nb.engine.forced_stop import read_kill_grace
from queuectl_nb.engine.pool_size import count_fitting, limit_text
from queuectl_nb.model.errors import BadEnvironment, QueuectlError, WaitTimeout, WrongState
from queuectl_nb.store.os_errors import file_size_reason
from queuectl_nb.store.paths import real_path, spool_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.queue_data import QueueData
    from queuectl_nb.client.supervisor_process import Event
    from queuectl_nb.engine.config import WorkerConfig
    from queuectl_nb.render.card_parts import Rendering

__all__ = ["WorkerPool"]

START_TIMEOUT_S = 60.0
ABORT_TIMEOUT_S = 8.0
"""How long a supervisor whose start failed may take to end; it needs five seconds at most."""
MAX_TROUBLES = 20
STOP_TIMEOUT_S = 0.5
"""Time after which workers that have to stop now are stopped in the same way as by ``worker stop --now``."""
KILL_MARGIN_S = 3.5
"""Time beyond the kill grace after which a supervisor that does not end is killed."""
MIN_ROOM = 8 << 20
"""Bytes by which the files of a queue must be able to grow for its workers."""
PER_JOB_EVENTS = (b'{"event":"started"', b'{"event":"finished"')
"""First bytes of event lines that only a reader of events needs."""


class WorkerPool(CardDisplay):
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

    def __init__(self, queue: QueueData, config: WorkerConfig, on_event: Callable[[Event], None] | None = None) -> None:
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
        self.unread = UnreadEvents()
        self._ready = threading.Event()
        self._failure: Event | None = None
        self._stop_enforcer = threading.Thread(target=self._enforce_stop, name="queuectl-stop", daemon=True)
        self._must_end: SimpleQueue[bool] = SimpleQueue()
        """True once the pool has to stop now, False once it has ended."""

    def start(self) -> WorkerPool:
        """Start the supervisor and wait until its workers are registered; raise its error if it fails."""
        if reason := file_size_reason(self.config.db, MIN_ROOM):
            raise BadEnvironment(reason)
        fit = count_fitting(self.config.processes)
        if fit < self.config.processes:
            self._warn(f"only {fit} of {self.config.count} workers fit: {limit_text()}; raise it to start more")
            self.config = replace(self.config, count=fit)
        self._queue.store.db.make_directories()  # someone may have removed them
        self._process, read = start_supervisor(self.config, self._log)
        try:
            threading.Thread(target=self._read, args=(read,), name="queuectl-events", daemon=True).start()
            self._stop_enforcer.start()
            self._await_ready()
        except BaseException:
            self._abort()
            raise
        return self

    def _warn(self, text: str) -> None:
        """Report a warning of this process like one of the workers."""
        line = json.dumps({"event": "warning", "worker": "pool", "text": text}).encode()
        self._handle_event(json.loads(line))
        if self._on_event is None:
            self.unread.put(line)

    def _abort(self) -> None:
        """End a pool that did not start: nobody would stop it later."""
        if self.process.stdin is None:
            self.process.terminate()
        self._close_pipe()  # the supervisor treats that as the death of its starter
        try:
            self.process.wait(ABORT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its workers then exit by themselves
            self.process.wait()

    def _await_ready(self) -> None:
        self._ready.wait(START_TIMEOUT_S)
        if self._failure is not None:
            raise error_of(self._failure)
        if not self.names or not self._ready.is_set():
            raise BadEnvironment(f"the worker pool did not start; see {self._log}")

    def _read(self, handle: int) -> None:
        """Read events until the last process that writes any has ended; runs in a thread."""
        with os.fdopen(handle, "rb") as lines:
            for line in lines:
                # two lines a job, mostly unread: parsing them would double the cost of this thread
                if self._on_event is not None or not line.startswith(PER_JOB_EVENTS):
                    for event in parse_event(line):
                        self._handle_event(event)
                if self._on_event is None:
                    self.unread.put(line)
                if self.detach and self._ready.is_set():
                    break
        self._ready.set()
        if not self.detach:
            self._must_end.put(False)
        self.unread.close()

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
        return chain.from_iterable(self.unread.batches())

    def scale(self, count: int) -> list[str]:
        """Start or stop workers until there are ``count``, and return their names; see ``Queue.scale_workers``."""
        names = [worker["name"] for worker in self.workers if worker["state"] in ("busy", "idle")]
        if not names:
            raise WrongState("the pool has ended; start another one")
        store = self._queue.store
        return scale_pool(store, find_pool(store, names[0]), count, lambda: self._send(b"scale\n"))

    def _send(self, word: bytes) -> None:
        """Send a word to the supervisor, if it has a control pipe."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
                self.process.stdin.write(word)

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
            self._send(b"now\n" if now else b"drain\n")
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

    def __exit__(self, kind: object, *_: object) -> None:
        """Stop the workers; with ``now`` if the block raised."""
        self.stop(now=kind is not None)

    def __repr__(self) -> str:
        state = "running" if self._process is not None and self.alive else "ended"
        kind = " detached" if self.detach else ""
        return f"<Pool {state}{kind}: {', '.join(self.names) or self.config.count} on {self.path}>"

    def _read_card(self, *, static: bool = False) -> Rendering:
        """Return the workers as HTML, and the pool in a line of text; ``static`` makes no difference."""
        from queuectl_nb.render.card_parts import Rendering
        from queuectl_nb.render.cards import pool_card, short_path

        state = "running" if self.alive else "ended" if self.process.returncode >= 0 else "lost"
        title = f"{'Detached w' if self.detach else 'W'}orkers on {short_path(self.path)}"
        workers = []
        with contextlib.suppress(QueuectlError):  # the file of the queue was deleted
            workers = self.workers
        html = pool_card(title, state, workers, self.troubles).html
        return Rendering(html, repr(self).replace(str(self.path), short_path(self.path)))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self._read_card().text)
