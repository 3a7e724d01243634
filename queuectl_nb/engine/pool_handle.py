"""A pool in the hands of whoever started it: the console, a script, a kernel."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from queuectl_nb.engine.dask.cluster import SECURITY
from queuectl_nb.model.errors import BadEnvironment, QueuectlError, WaitTimeout
from queuectl_nb.store.paths import real_path, spool_dir
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from queuectl_nb.engine.dask.cluster import Cluster

__all__ = ["PoolHandle"]

START_TIMEOUT = 60.0
PIPE_SIZE = 1024 * 1024
HELD = 10_000
"""Events kept for who does not read them; the oldest go first."""
TROUBLES = 20
"""Deaths and warnings that a pool remembers."""
ROUTINE = (b'{"event":"started"', b'{"event":"finished"')
"""How lines begin that matter only to who reads them."""
Event = dict[str, Any]


class PoolHandle:
    """A pool of worker processes, started by :meth:`start`.

    It runs in a session of its own, so that an interrupt of the kernel or terminal never reaches it. Unless
    ``detach``, it ends within five seconds when this process ends, however that happens: a pipe and a pidfd tell it.

    Attributes
    ----------
    names
        The workers' names.
    troubles
        The last deaths of workers and warnings, as text.
    pid
        The pool's process.
    """

    def __init__(  # noqa: PLR0913
        self,
        path: Path,
        *,
        count: int,
        queues: Sequence[str] = (),
        drain: bool = False,
        detach: bool = False,
        allow_network_fs: bool = False,
        dask: Cluster | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.path = path
        self.dask = dask
        self.count = count
        self.detach = detach
        self.names: list[str] = []
        self.troubles: deque[str] = deque(maxlen=TROUBLES)
        self._on_event = on_event
        self._log = spool_dir(real_path(path)) / "worker" / "pool.log"
        self._config = {
            "db": str(path),
            "count": 1 if dask else count,
            "queues": list(queues),
            "drain": drain,
            "lifeline": not detach,
            "allow_network_fs": allow_network_fs,
            "parent": os.getpid(),
            "path": [entry for entry in sys.path if entry and os.path.isdir(entry)],
        }
        self._environ = dict(os.environ)
        if dask is not None:
            self._config["dask"] = {"scheduler": dask.scheduler, "resources": dict(dask.resources), "most": count}
            self._environ[SECURITY] = dask.security or ""
        self._process: subprocess.Popen[bytes] | None = None
        self._events: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._failure: Event | None = None

    def start(self) -> PoolHandle:
        """Start the pool and return once its workers are registered; raise what kept it from starting."""
        entry = os.path.join(os.path.dirname(__file__), "__main__.py")
        errors = open_regular(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        read, write = os.pipe()
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", entry, "pool", json.dumps(self._config)],
                stdin=subprocess.DEVNULL if self.detach else subprocess.PIPE,
                stdout=write,
                stderr=errors,
                cwd=self.path.parent,
                env=self._environ,
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
            os.close(errors)
        threading.Thread(target=self._read, args=(read,), name="queuectl-events", daemon=True).start()
        self._await_ready()
        return self

    def _await_ready(self) -> None:
        self._ready.wait(START_TIMEOUT)
        if self._failure is not None:
            raise _error(self._failure)
        if not self.names or not self._ready.is_set():
            msg = f"the worker pool did not start; see {self._log}"
            raise BadEnvironment(msg)

    def _read(self, handle: int) -> None:
        """Read events in a thread of its own, until the last process that tells any has ended."""
        with os.fdopen(handle, "rb") as lines:
            for line in lines:
                # two lines a job, which mostly nobody reads: parsing them costs as much as all the rest of it
                if self._on_event is not None or not line.startswith(ROUTINE):
                    event = None
                    with contextlib.suppress(ValueError):
                        event = json.loads(line)
                    if isinstance(event, dict) and "event" in event:  # else it was printed there by somebody else
                        self._take(event)
                if self._on_event is None:
                    self._hold(line)
                if self.detach and self._ready.is_set():
                    break
        self._ready.set()
        self._events.put(None)

    def _take(self, event: Event) -> None:
        if event["event"] == "pool_ready":
            self.names = event["workers"]
            if self.dask is None:
                self._ready.set()
        elif event["event"] == "connected":
            self._ready.set()
        elif event["event"] == "worker_started" and self.names and event["worker"] not in self.names:
            self.names.append(event["worker"])
        elif event["event"] == "failed":
            self._failure = event
        elif event["event"] == "worker_died":
            self.troubles.append(f"{event['worker']} died ({event['why']}) and is replaced")
        elif event["event"] == "warning":
            self.troubles.append(f"{event.get('worker') or 'pool'}: {event['text']}")
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:  # noqa: BLE001 - the caller's own mistake: shown, and no reason to hear no more
                traceback.print_exc()

    def _hold(self, line: bytes) -> None:
        """Keep an event for who may read it later."""
        if self._events.qsize() >= HELD:
            with contextlib.suppress(queue.Empty):
                self._events.get_nowait()
        self._events.put(line)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The pool's process."""
        if self._process is None:
            msg = "the pool was not started"
            raise RuntimeError(msg)
        return self._process

    @property
    def pid(self) -> int:
        """The pool's process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the pool still runs."""
        return self.process.poll() is None

    def events(self) -> Iterator[Event]:
        """Yield what the workers tell, until the pool has ended; not for a pool with ``on_event``."""
        while (line := self._events.get()) is not None:
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    def stop(self, *, now: bool = False, wait: bool = True, timeout: float | None = None) -> None:
        """Let the workers finish their jobs and end; ``now`` gives the jobs back instead.

        A detached pool is stopped by a signal, since it has no pipe to us.
        """
        if not self.alive:
            self._hang_up()
            return
        if self.process.stdin is None:
            self.process.send_signal(15 if now else 2)
        else:
            with contextlib.suppress(OSError, ValueError):  # ended, or closed since
                self.process.stdin.write(b"now\n" if now else b"drain\n")
        if wait:
            self.wait(timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all workers have ended and return the pool's exit code; ``WaitTimeout`` at ``timeout`` seconds."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            msg = f"the workers have not ended after {timeout:g} seconds"
            raise WaitTimeout(msg) from None
        self._hang_up()
        return code

    def _hang_up(self) -> None:
        """Close the pipe to a pool that has ended."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def __enter__(self) -> Self:
        """Use the workers for the block; they finish their jobs at its end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers: in good order, or at once when the block failed or was interrupted."""
        self.stop(now=kind is not None)

    def __repr__(self) -> str:
        state = "running" if self._process is not None and self.alive else "ended"
        kind = " detached" if self.detach else ""
        return f"<Pool {state}{kind}: {', '.join(self.names) or self.count} on {self.path}>"


def _error(failure: Event) -> QueuectlError:
    """Make an error of the pool's own last words, with their exit code."""
    for kind in QueuectlError.__subclasses__():
        if kind.exit_code == failure["exit_code"]:
            return kind(failure["text"])
    return BadEnvironment(failure["text"])
