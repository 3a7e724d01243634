"""Monitors one running attempt: exit, timeout, termination and leftover processes."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from queuectl_nb.model.outcome import Outcome, SignalledWorker, TimedOut

if TYPE_CHECKING:
    from queuectl_nb.engine.local_run import LocalRun
    from queuectl_nb.model.settings import Settings

__all__ = ["RunMonitor", "short_job_s"]

SHORT_JOB_S = 0.01
"""Run time up to which a job may delay results and prefetched jobs, if it does not wait for a core.

On a busy machine even a command of 1 ms takes longer, since it waits for a core until the next scheduler tick (4 ms at
250 Hz) once or twice. With a limit of 5 ms such commands counted as long, and prefetched jobs were released and claimed
again and again.
"""
LOADAVG = "/proc/loadavg"
MAX_SHORT_JOB_S = 0.1
"""Maximum of that run time, on an overloaded machine."""
FAST_WAIT_S = 0.005
"""Run time during which only the exit is waited for, which is cheapest; other inputs wait."""
KILL_INTERVAL_S = 0.02
"""Interval between attempts to kill remaining processes."""


def short_job_s() -> float:
    """Return the run time up to which a job counts as short: in proportion to the processes that share a core."""
    try:
        with open(LOADAVG, "rb") as file:
            running = int(file.read().split()[3].partition(b"/")[0])
    except OSError:  # macOS
        return SHORT_JOB_S
    return min(MAX_SHORT_JOB_S, SHORT_JOB_S * max(1.0, running / (os.cpu_count() or 1)))


class RunMonitor:
    """Monitors a run until all its processes are gone; :meth:`step` is short and never waits."""

    __slots__ = (
        "_grace",
        "_is_long",
        "_kill_at",
        "exit_outcome",
        "forced_outcome",
        "long_at",
        "recorded",
        "run",
        "was_short",
    )

    def __init__(self, run: LocalRun) -> None:
        """Monitor ``run``."""
        self.run = run
        self.recorded = False
        """Whether its pid and start time are in the database."""
        self.forced_outcome: Outcome | None = None
        """Why we are ending it: a timeout, a cancellation or a stop."""
        self.exit_outcome: Outcome | None = None
        """How the shell exited; other processes may still be running."""
        self.was_short = False
        """Whether the shell exited before the run was long."""
        self.long_at = run.started + SHORT_JOB_S
        """Monotonic time at which the run may become long."""
        self._is_long = False
        self._kill_at = 0.0
        self._grace = 0.0

    def is_long(self, now: float) -> bool:
        """Return True if it has run for so long that results and prefetched jobs must not wait for it."""
        if not self._is_long and now >= self.long_at:
            self.long_at = self.run.started + short_job_s()
            self._is_long = now >= self.long_at
        return self._is_long

    def fast_wait_s(self, now: float) -> float:
        """Return the seconds for which only its exit should be waited for."""
        return max(0.0, self.run.started + FAST_WAIT_S - now) if self.exit_outcome is None else 0.0

    @property
    def outcome(self) -> Outcome:
        """Outcome of an ended run: the forced outcome if there is one, otherwise the exit of the shell."""
        if self.forced_outcome is not None:
            return self.forced_outcome
        if self.exit_outcome is None:
            raise RuntimeError(f"the attempt of job {self.run.lease.job_id} is still running")
        return self.exit_outcome

    def step(self, settings: Settings, grace: float) -> bool:
        """Check for exit, timeout and leftover processes; return True once nothing of the run is left.

        ``grace`` is the time between SIGTERM and SIGKILL in seconds.
        """
        run = self.run
        self._grace = grace
        self._poll_exit()
        if self.exit_outcome is not None:
            if not run.has_leftovers():
                return True
            if not self._kill_at:
                self._terminate()
        else:
            if not run.has_own_files and self.is_long(time.monotonic()):
                run.move_to_own_files()
            if self.forced_outcome is None:
                limit = settings.timeout_for(run.lease.timeout)
                if limit is not None and time.monotonic() - run.started >= limit:
                    self.end(TimedOut(limit, setting=run.lease.timeout is None), grace)
        if self._kill_at and time.monotonic() >= self._kill_at:
            # repeated until all processes are gone
            run.kill()
            self._kill_at = time.monotonic() + KILL_INTERVAL_S
        return False

    def _poll_exit(self) -> None:
        if self.exit_outcome is None:
            self.exit_outcome = self.run.poll()
            if self.exit_outcome is not None:
                self.was_short = not self.is_long(time.monotonic())

    def end(self, outcome: Outcome, grace: float) -> None:
        """Send SIGTERM to the process tree now and SIGKILL after ``grace`` seconds.

        If the shell has exited by itself, its outcome stays. If termination has begun, ``grace`` can only shorten it.
        """
        if self._kill_at:
            self._kill_at = min(self._kill_at, time.monotonic() + grace)
            return
        if not isinstance(outcome, SignalledWorker):  # which a job causes by itself before it exits
            self._poll_exit()
        if self.exit_outcome is None:
            self.forced_outcome = outcome
            self._grace = grace
            self._terminate()

    def _terminate(self) -> None:
        self._kill_at = time.monotonic() + self._grace
        self.run.terminate()

    def wake_at(self, settings: Settings) -> float | None:
        """Return the monotonic time of the next :meth:`step` that is due without an exit, or None."""
        if self._kill_at:
            return self._kill_at
        limit = settings.timeout_for(self.run.lease.timeout)
        return None if limit is None else self.run.started + limit
