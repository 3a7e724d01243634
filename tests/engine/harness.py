"""Run real worker pools on real queues and wait for conditions instead of sleeping."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from queuectl_nb.client import Job, Queue
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.client.workers import list_workers
from queuectl_nb.engine.proc_files import holds_all
from queuectl_nb.model.job import JobSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.pool import WorkerPool

Event = dict[str, Any]


def until(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Poll ``condition`` until it returns a true value and return that; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} seconds: {condition}"
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def in_threads(*functions: Callable[[], object]) -> Iterator[None]:
    """Run functions in threads of their own beside the block, and wait for them at its end."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


class LoadDelay:
    """Measure how long threads wait for a core: those of this process, of ``pids`` and of all their descendants.

    Linux counts that for each thread. The sum is more than what a step is late by, if several of them wait at a time.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._waited: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return sum(waited - self._first.get(name, 0) for name, waited in self._waited.items()) / 1e9

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self._measure()

    def _measure(self) -> None:
        todo = [os.getpid(), *self._pids]
        while todo:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{todo.pop()}/task").iterdir():
                    self._waited[str(task)] = int((task / "schedstat").read_bytes().split()[1])
                    todo += [int(child) for child in (task / "children").read_bytes().split()]

    def __enter__(self) -> Self:
        self._measure()
        self._first = dict(self._waited)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._measure()


@contextlib.contextmanager
def within(limit_s: float, *pids: int) -> Iterator[None]:
    """Check that the block takes less than ``limit_s`` seconds, apart from delays by the load of the machine.

    ``pids`` are processes that work on it besides the descendants of this one.
    """
    began = time.monotonic()
    with LoadDelay(*pids) as delay:
        yield
        took = time.monotonic() - began
    assert took - delay.seconds < limit_s, f"{took:.1f} s, of which {delay.seconds:.1f} s without a core"


def fill_disk(ballast: Path) -> None:
    """Write into the file ``ballast`` until its disk is full."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 1024)


FORK_SERVER = "queuectl_nb.child.fork_server"


def job_processes(path: Path) -> list[psutil.Process]:
    """Return the live processes of jobs of the queue ``path``, identified by their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            ours = environment.get("QUEUECTL_DB") == str(path) and "QUEUECTL_ATTEMPT_TOKEN" in environment
            if ours and process.status() != psutil.STATUS_ZOMBIE and not _is_fork_server(process):
                found.append(process)
    return found


def _is_fork_server(process: psutil.Process) -> bool:
    """Return True for the parent of jobs that call functions, which stays; such jobs have the same command line."""
    parent = process.parent()
    return FORK_SERVER in process.cmdline() and (parent is None or FORK_SERVER not in parent.cmdline())


@dataclass
class WorkerHarness:
    """A queue under test and its worker pools; :meth:`close` stops everything that was started."""

    queue: Queue
    pools: list[WorkerPool] = field(default_factory=list)
    event_log: list[Event] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Path of the queue file."""
        return self.queue.path

    def add(self, command: str, **fields: Any) -> Job:
        """Enqueue a job."""
        return Job(self.queue, enqueue_specs(self.queue, [JobSpec.from_fields({"command": command, **fields})]).ids[0])

    def start(self, count: int = 1, **options: Any) -> WorkerPool:
        """Start workers and collect their events in ``event_log``."""
        pool = self.queue.start_workers(count, on_event=self.event_log.append, **options)
        self.pools.append(pool)
        return pool

    def events(self, event: str, **fields: Any) -> list[Event]:
        """Return the events named ``event`` whose fields match ``fields``."""
        return [
            each
            for each in list(self.event_log)
            if each["event"] == event and all(each.get(key) == value for key, value in fields.items())
        ]

    def worker_pid(self, name: str = "worker-1") -> int:
        """Wait until a worker runs and return its pid."""

        def pid() -> Any:
            return next((each["pid"] for each in list_workers(self.queue.store) if each["name"] == name), None)

        return int(until(pid))

    def freeze(self, name: str = "worker-1") -> int:
        """Stop a worker with SIGSTOP while it neither holds nor awaits the write lock; return its pid.

        Supervisors kill a frozen worker that would block all writers.
        """
        return self.freeze_process(self.worker_pid(name))

    def freeze_process(self, pid: int) -> int:
        """Stop a process as :meth:`freeze` does, and return its pid."""
        while True:
            os.kill(pid, signal.SIGSTOP)
            until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
            if not holds_all(pid, [self.queue.store.db.write_lock.path]):
                return pid
            os.kill(pid, signal.SIGCONT)

    def outcomes(self, job: Job) -> list[str | None]:
        """Return the outcomes of the job's attempts, oldest first."""
        return [attempt.outcome for attempt in job.history]

    def close(self) -> None:
        """Stop every pool with its workers and jobs, whatever state the test left them in."""
        for pool in self.pools:
            with contextlib.suppress(psutil.Error):
                tree = [psutil.Process(pool.pid), *psutil.Process(pool.pid).children(recursive=True)]
                pool.stop(now=True, wait=False)
                _, alive = psutil.wait_procs(tree, timeout=3)
                for process in alive:
                    with contextlib.suppress(psutil.Error):
                        process.kill()
            pool.stop(wait=False)  # closes the control pipe once the supervisor has exited
        for process in job_processes(self.path):
            with contextlib.suppress(psutil.Error):
                process.kill()


def time_out(job: Job, path: Path) -> None:
    """Set the job's timeout to what is over, once its command has written the file ``path``."""
    read_pid(path)
    job.edit(timeout=0.01)


def alive(pid: int) -> bool:
    """Return True if a process exists and is not a zombie."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def read_pid(path: Path, timeout: float = 60.0) -> int:
    """Wait until a job has written its pid to ``path`` and return it."""
    return int(until(lambda: path.exists() and path.read_text().strip(), timeout))
