"""One running attempt, attended: its end awaited, its time limited, what it leaves behind swept away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queuectl_nb.model.outcome import Outcome, TimedOut

if TYPE_CHECKING:
    from queuectl_nb.engine.executor import Exit, Run
    from queuectl_nb.model.settings import Settings

__all__ = ["SHORT_JOB_S", "RunMonitor"]

SHORT_JOB_S = 0.01
"""Seconds that a running job may keep others' results and claims waiting. On a busy machine a command of a millisecond
takes several, since it waits for a core until the next tick of the scheduler (4 ms at 250 Hz), once or twice: with 5 ms
such a command counted as a long one, and what was claimed ahead went back and forth."""
FAST_WAIT_S = 0.005
"""Seconds from its start in which a job's end is waited for in the cheapest way, which hears nothing else."""
KILL_INTERVAL_S = 0.02
"""Seconds between looks at processes that are being killed."""


class RunMonitor:
    """Watches over one run until nothing of it is left; :meth:`step` is short and never waits."""

    __slots__ = ("_grace", "_kill_at", "exit", "forced_outcome", "recorded", "run", "was_short")

    def __init__(self, run: Run) -> None:
        """Attend ``run``."""
        self.run = run
        self.recorded = False
        """Whether its pid and true start are in the database."""
        self.forced_outcome: Outcome | None = None
        """Why it is being ended by us."""
        self.exit: Exit | None = None
        """How its shell ended, while leftovers may still be there."""
        self.was_short = False
        """Whether its shell ended within :data:`SHORT_JOB_S`."""
        self._kill_at = 0.0
        self._grace = 0.0

    def is_long(self, now: float) -> bool:
        """Tell whether it has run for so long that nobody must wait for it any more."""
        return now - self.run.started >= SHORT_JOB_S

    def fast_wait_s(self, now: float) -> float:
        """Return the seconds for which only its end should be waited for, in the cheapest way; 0 once it lasts."""
        return max(0.0, self.run.started + FAST_WAIT_S - now) if self.exit is None else 0.0

    @property
    def outcome(self) -> Outcome:
        """What it came to: our verdict goes before how its shell took it. Only after its end."""
        if self.forced_outcome is not None:
            return self.forced_outcome
        if self.exit is None:
            msg = f"the attempt of job {self.run.lease.job_id} has not ended"
            raise RuntimeError(msg)
        return self.exit.outcome

    def step(self, settings: Settings, grace: float) -> bool:
        """See whether it ended, ran out of time, or must be swept away; tell whether nothing of it is left.

        ``grace`` is the time from TERM to KILL, in seconds.
        """
        run = self.run
        self._grace = grace
        if self.exit is None:
            self.exit = run.poll()
            if self.exit is not None:
                self.was_short = time.monotonic() - run.started < SHORT_JOB_S
        if self.exit is not None:
            if not run.leftovers():
                return True
            if not self._kill_at:
                self._begin_to_end()
        else:
            if not run.has_own_files and time.monotonic() - run.started >= SHORT_JOB_S:
                run.move_to_own_files()
            if self.forced_outcome is None:
                limit = settings.timeout_for(run.lease.timeout)
                if limit is not None and time.monotonic() - run.started >= limit:
                    self.end(TimedOut(limit), grace)
        if self._kill_at and time.monotonic() >= self._kill_at:
            # what did not end within its grace, again and again until it is gone
            run.kill()
            self._kill_at = time.monotonic() + KILL_INTERVAL_S
        return False

    def end(self, verdict: Outcome, grace: float) -> None:
        """Begin to end it, unless that began before: TERM to the whole tree now, KILL after the grace.

        Where its shell has ended by itself, that stays its outcome. What is being ended gets no more than ``grace``.
        """
        if self._kill_at:
            self._kill_at = min(self._kill_at, time.monotonic() + grace)
        elif self.exit is None:
            self.forced_outcome = verdict
            self._grace = grace
            self._begin_to_end()

    def _begin_to_end(self) -> None:
        self._kill_at = time.monotonic() + self._grace
        self.run.terminate()

    def wake_at(self, settings: Settings) -> float | None:
        """Return the monotonic second at which it wants to be looked at without having ended; None for never."""
        if self._kill_at:
            return self._kill_at
        limit = settings.timeout_for(self.run.lease.timeout)
        return None if limit is None else self.run.started + limit
