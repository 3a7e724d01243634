"""An executor that runs nothing, so that a dispatcher can be measured alone: each job ends after a random time.

It stands for a thousand dask workers that respond at once. It behaves like an executor as far as that is
possible without processes: it understands ``exit N`` and ``sleep S``, timeouts and terminations.
"""

from __future__ import annotations

import heapq
import os
import random
import re
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine.control import WorkerControl
from queuectl_nb.engine.dask.messages import Ended
from queuectl_nb.engine.dask.remote_run import RemoteRun
from queuectl_nb.model.attempt import Usage
from queuectl_nb.model.outcome import Exited, Returned, TimedOut
from queuectl_nb.model.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.store.spool import Spool

__all__ = ["SimulatedControl", "SimulatedExecutor"]

_EXIT = re.compile(r"\bexit (\d+)")
_SLEEP = re.compile(r"\bsleep ([\d.]+)")
SHORT_RUN_S = 0.05


class SimulatedExecutor:
    """Ends each job after its own ``sleep``, or after an exponentially distributed time of ``mean`` seconds."""

    def __init__(self, spool: Spool, *, max_in_flight: int, mean: float, seed: int = 1) -> None:
        """Run at most ``max_in_flight`` jobs at a time; the same ``seed`` gives the same times."""
        self.spool = spool
        self.max_in_flight = max_in_flight
        self.mean = mean
        self.peak = 0
        self.delays: list[float] = []
        """Seconds between the end of each job and its :meth:`poll`."""
        self.polled_at: list[float] = []
        self._random = random.Random(seed)
        self._runs: dict[str, RemoteRun] = {}
        self._ends: list[tuple[float, int, str, Outcome]] = []
        self._long: list[tuple[float, int, str]] = []
        self._count = 0
        self._settings = Settings.from_stored({})
        self.fd, self._write_fd = os.pipe()

    @property
    def in_flight(self) -> int:
        """How many attempts are in flight."""
        return len(self._runs)

    def capacity(self) -> int:
        """Return how many jobs may be started now: there is always a free slot."""
        return self.max_in_flight - len(self._runs)

    def request_slots(self, jobs: int) -> None:
        """Do nothing: all slots are there."""

    def start(self, lease: Lease, owned: Callable[[], bool]) -> RemoteRun:
        """Choose how long the job takes."""
        assert owned()
        run = RemoteRun(lease, self.spool)
        self._runs[lease.token] = run
        self.peak = max(self.peak, len(self._runs))
        sleep, code = _SLEEP.search(lease.command), _EXIT.search(lease.command)
        duration = float(sleep[1]) if sleep else self._random.expovariate(1 / self.mean)
        outcome: Outcome = Exited(int(code[1]) if code else 0)
        limit = self._settings.timeout_for(lease.timeout)
        if limit is not None and limit < duration:
            duration, outcome = limit, TimedOut(limit)
        now = time.monotonic()
        self._push(now + duration, lease.token, outcome)
        if duration > SHORT_RUN_S:
            self._count += 1
            heapq.heappush(self._long, (now + SHORT_RUN_S, self._count, lease.token))
        return run

    def _push(self, at: float, token: str, outcome: Outcome) -> None:
        self._count += 1
        heapq.heappush(self._ends, (at, self._count, token, outcome))

    def terminate(self, run: RemoteRun, grace_s: float) -> None:
        """End an attempt at once: nothing here ignores SIGTERM."""
        del grace_s
        self._push(time.monotonic(), run.token, Returned(""))

    def poll(self) -> tuple[list[RemoteRun], list[RemoteRun]]:
        """Return the attempts that have finished, and those that have become long."""
        now = time.monotonic()
        finished: list[RemoteRun] = []
        long_running: list[RemoteRun] = []
        while self._long and self._long[0][0] <= now:
            run = self._runs.get(heapq.heappop(self._long)[2])
            if run is not None:
                run.mark_running(os.getpid(), SHORT_RUN_S, "simulated")
                long_running.append(run)
        while self._ends and self._ends[0][0] <= now:
            at, _, token, outcome = heapq.heappop(self._ends)
            run = self._runs.pop(token, None)
            if run is not None:
                self.delays.append(now - at)
                self.polled_at.append(now)
                run.finish(Ended(token, outcome, Usage(0.0, 0.0, 0)), run.host)
                finished.append(run)
        return finished, long_running

    def maintain(self, settings: Settings) -> float:
        """Return the seconds until the next attempt finishes."""
        self._settings = settings
        times = [heap[0][0] for heap in (self._ends, self._long) if heap]
        return max(0.0, min(times) - time.monotonic()) if times else 60.0

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.fd)
        os.close(self._write_fd)


class SimulatedControl(WorkerControl):
    """Control inputs of a dispatcher inside a benchmark or test: only :meth:`request_stop` stops it."""

    def receive_notification(self) -> bool:
        """Return that there was none."""
        return False

    def wait(self, timeout: float, *, idle: bool) -> None:
        """Sleep for a moment."""
        time.sleep(min(timeout, 0.02 if idle else 0.005))
