"""A crew that runs nothing: each job ends after a time that is drawn, so that a dispatcher can be measured alone.

It stands for a thousand workers that answer at once. It keeps the contract of what runs commands as far as that goes
without processes: ``exit N`` and ``sleep S`` are understood, timeouts and ends from outside too.
"""

from __future__ import annotations

import heapq
import os
import random
import re
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine.control import WorkerControl
from queuectl_nb.engine.dask.remote_run import RemoteRun

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.spool import Spool

__all__ = ["DrawnControl", "DrawnCrew"]

_EXIT = re.compile(r"\bexit (\d+)")
_SLEEP = re.compile(r"\bsleep ([\d.]+)")
LASTS = 0.05


class DrawnCrew:
    """Ends each job after its own ``sleep``, or after ``mean`` seconds on the average, exponentially drawn."""

    def __init__(self, spool: Spool, *, most: int, mean: float, seed: int = 1) -> None:
        """Run at most ``most`` jobs at a time; the same ``seed`` draws the same times."""
        self.spool = spool
        self.most = most
        self.mean = mean
        self.peak = 0
        self.lags: list[float] = []
        """Seconds by which each end was taken in late."""
        self.taken: list[float] = []
        """When each was taken in."""
        self.wished = 0
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self._away: dict[str, RemoteRun] = {}
        self._ends: list[tuple[float, int, str, list[object] | None]] = []
        self._lasts: list[tuple[float, int, str]] = []
        self._count = 0
        self._settings: Settings | None = None
        self.handle, self._bell = os.pipe()

    @property
    def in_flight(self) -> int:
        """How many attempts are away."""
        return len(self._away)

    def room(self) -> int:
        """Return how many may be started now: there is always a worker free."""
        return self.most - len(self._away)

    def request_slots(self, jobs: int) -> None:
        """Take note of it."""
        self.wished = jobs

    def start(self, lease: Lease, settings: Settings, ours: Callable[[], bool]) -> RemoteRun:
        """Draw how long the job takes."""
        assert ours()
        errand = RemoteRun(lease, self.spool)
        self._away[lease.token] = errand
        self.peak = max(self.peak, len(self._away))
        sleep, code = _SLEEP.search(lease.command), _EXIT.search(lease.command)
        takes = float(sleep[1]) if sleep else self._random.expovariate(1 / self.mean)
        outcome: list[object] = ["Exited", [int(code[1]) if code else 0]]
        limit = settings.timeout_for(lease.timeout)
        if limit is not None and limit < takes:
            takes, outcome = limit, ["TimedOut", [limit]]
        now = time.monotonic()
        self._push(now + takes, lease.token, outcome)
        if takes > LASTS:
            self._count += 1
            heapq.heappush(self._lasts, (now + LASTS, self._count, lease.token))
        return errand

    def _push(self, at: float, token: str, outcome: list[object]) -> None:
        self._count += 1
        heapq.heappush(self._ends, (at, self._count, token, outcome))

    def end(self, errand: RemoteRun, grace: float) -> None:
        """End it at once: nothing here ignores TERM."""
        del grace
        self._push(time.monotonic(), errand.token, ["Returned", [""]])

    def poll(self) -> tuple[list[RemoteRun], list[RemoteRun]]:
        """Return what is over by now, and what lasts."""
        now, over, lasting = time.monotonic(), [], []
        while self._lasts and self._lasts[0][0] <= now:
            errand = self._away.get(heapq.heappop(self._lasts)[2])
            if errand is not None:
                errand.lasts(os.getpid(), LASTS, "drawn")
                lasting.append(errand)
        while self._ends and self._ends[0][0] <= now:
            at, _, token, outcome = heapq.heappop(self._ends)
            ended = self._away.pop(token, None)
            if ended is not None:
                self.lags.append(now - at)
                self.taken.append(now)
                ended.end({"outcome": outcome, "usage": [0.0, 0.0, 0], "host": "drawn"})
                over.append(ended)
        return over, lasting

    def maintain(self, settings: Settings) -> float:
        """Return the seconds until the next of them is over."""
        self._settings = settings
        times = [heap[0][0] for heap in (self._ends, self._lasts) if heap]
        return max(0.0, min(times) - time.monotonic()) if times else 60.0

    def acknowledge(self, open_tokens: Collection[str]) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.handle)
        os.close(self._bell)


class DrawnControl(WorkerControl):
    """Control inputs of a dispatcher inside a benchmark or test: only :meth:`request_stop` stops it."""

    def wait(self, timeout: float, *, idle: bool) -> None:
        """Wait, a little at a time."""
        time.sleep(min(timeout, 0.02 if idle else 0.005))
