"""Real pools on real queues, and what is needed to watch them without sleeping for luck."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psutil

from queuectl_nb.client import Job, Queue
from queuectl_nb.model.job import JobSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.engine.pool_handle import PoolHandle

Event = dict[str, Any]


def until(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Wait until ``condition`` gives something true and return that; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} seconds: {condition}"
        time.sleep(0.01)
    return found


class Stolen:
    """How long a thread that wants to run every 10 ms had to wait for a core: the machine's part of any delay."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._over.wait(0.01):
            now = time.monotonic()
            self.seconds += max(0.0, now - began - 0.01)
            began = now

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def processes_of(path: Path) -> list[psutil.Process]:
    """Return the living processes of jobs of the queue ``path``, found by what every job has in its environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            ours = environment.get("QUEUECTL_DB") == str(path) and "QUEUECTL_ATTEMPT_TOKEN" in environment
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@dataclass
class WorkerHarness:
    """A queue under test with its pools; everything that was started is ended with the test."""

    queue: Queue
    pools: list[PoolHandle] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The queue's file."""
        return self.queue.path

    def add(self, command: str, **fields: Any) -> Job:
        """Enqueue a job."""
        return Job(self.queue, self.queue.enqueue_specs([JobSpec.of({"command": command, **fields})])[0])

    def start(self, count: int = 1, **options: Any) -> PoolHandle:
        """Start workers, their events collected in ``events``."""
        pool = self.queue.start_workers(count, on_event=self.events.append, **options)
        self.pools.append(pool)
        return pool

    def told(self, event: str, **facts: Any) -> list[Event]:
        """Return the events of a kind with these facts."""
        return [
            each
            for each in list(self.events)
            if each["event"] == event and all(each.get(key) == value for key, value in facts.items())
        ]

    def pid_of(self, name: str = "worker-1") -> int:
        """Return the pid of a worker that runs."""
        return until(lambda: next((w["pid"] for w in self.queue.worker_list() if w["name"] == name and w["pid"]), None))

    def outcomes(self, job: Job) -> list[str | None]:
        """Return how the job's attempts ended, oldest first."""
        return [attempt.outcome for attempt in job.history]

    def close(self) -> None:
        """End every pool, its workers and their jobs, whatever state the test left them in."""
        for pool in self.pools:
            with contextlib.suppress(psutil.Error):
                tree = [psutil.Process(pool.pid), *psutil.Process(pool.pid).children(recursive=True)]
                pool.stop(now=True, wait=False)
                _, alive = psutil.wait_procs(tree, timeout=3)
                for process in alive:
                    with contextlib.suppress(psutil.Error):
                        process.kill()
        for process in processes_of(self.path):
            with contextlib.suppress(psutil.Error):
                process.kill()


def alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def started(path: Path) -> int:
    """Return the pid that a job wrote to ``path`` as its first act."""
    return int(until(lambda: path.exists() and path.read_text().strip()))
