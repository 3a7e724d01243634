"""How an attempt ended: a sum type, each case with its own facts and its own words.

The outcome is named first and recorded afterwards; what follows for the job is
:func:`queuectl_nb.model.lifecycle.settle`.
"""

from __future__ import annotations

import signal as _signal
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

__all__ = [
    "OUTCOME_NAMES",
    "Cancelled",
    "Exited",
    "Lost",
    "NotStarted",
    "Outcome",
    "Returned",
    "Signalled",
    "TimedOut",
    "exited",
]


@dataclass(frozen=True, slots=True)
class Exited:
    """The shell ended by itself with ``code``."""

    code: int

    @property
    def name(self) -> str:
        """``succeeded`` for exit code 0, else ``failed``."""
        return "failed" if self.code else "succeeded"

    @property
    def error(self) -> str | None:
        """What the user reads; None where nothing is wrong."""
        return f"exit code {self.code}" if self.code else None


@dataclass(frozen=True, slots=True)
class Signalled:
    """The shell was ended by a signal that we did not send."""

    number: int
    name: ClassVar[str] = "failed"

    @property
    def signal(self) -> str:
        """The signal's name (``SIGSEGV``); ``SIG64`` and the like for one without a name."""
        try:
            return _signal.Signals(self.number).name
        except ValueError:
            return f"SIG{self.number}"

    @property
    def error(self) -> str:
        """What the user reads."""
        return f"killed by {self.signal}"


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt ran longer than ``after`` seconds and was ended."""

    after: float
    name: ClassVar[str] = "timed_out"

    @property
    def error(self) -> str:
        """What the user reads; names the option that raises the limit."""
        return f"timed out after {self.after:g} seconds (raise it with --timeout, or 'queuectl config set timeout')"


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The command could not be started at all (its directory is gone, say)."""

    why: str
    name: ClassVar[str] = "not_started"

    @property
    def error(self) -> str:
        """What the user reads."""
        return f"could not be started: {self.why}"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person cancelled the job while it ran."""

    name: ClassVar[str] = "cancelled"
    error: ClassVar[str] = "cancelled by a person"


@dataclass(frozen=True, slots=True)
class Returned:
    """The worker gave the attempt back in good order; it costs nothing."""

    why: str = "its worker was stopped"
    name: ClassVar[str] = "returned"

    @property
    def error(self) -> str:
        """What the user reads in the attempt's history."""
        return f"given back: {self.why}"


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker died or froze with the attempt in its hands."""

    worker: str
    why: str = "died"
    may_overlap: bool = False
    name: ClassVar[str] = "lost"

    @property
    def error(self) -> str:
        """What the user reads; says so where the old processes could not be proven gone."""
        doubt = "; its processes on another host may still run (may_overlap)" if self.may_overlap else ""
        return f"lost: {self.worker} {self.why}{doubt}"


exited = cache(Exited)
"""An :class:`Exited` that is made once for each code: most attempts end with the same few."""

Outcome = Exited | Signalled | TimedOut | NotStarted | Cancelled | Returned | Lost

OUTCOME_NAMES = ("succeeded", "failed", "timed_out", "lost", "cancelled", "returned", "not_started")
