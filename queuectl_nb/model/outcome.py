"""Outcomes of attempts: a sum type in which each case has its own facts and error message.

:func:`queuectl_nb.model.lifecycle.settle` derives the job's transition from it.
"""

from __future__ import annotations

import signal as _signal
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, get_args

__all__ = [
    "OUTCOME_CLASSES",
    "OUTCOME_NAMES",
    "SENDER_ENDED",
    "SUPERVISOR_DIED",
    "Cancelled",
    "Copied",
    "Exited",
    "Lost",
    "NotStarted",
    "Outcome",
    "Raised",
    "Returned",
    "Signalled",
    "SignalledWorker",
    "TimedOut",
    "exit_code",
    "exited",
]


@dataclass(frozen=True, slots=True)
class Exited:
    """The shell exited with ``code``."""

    code: int

    @property
    def name(self) -> str:
        """``succeeded`` for exit code 0, else ``failed``."""
        return "failed" if self.code else "succeeded"

    @property
    def error(self) -> str | None:
        """The error message; None for exit code 0."""
        return f"exit code {self.code}" if self.code else None


@dataclass(frozen=True, slots=True)
class Signalled:
    """The shell was killed by a signal that queuectl did not send."""

    number: int
    name: ClassVar[str] = "failed"

    @property
    def signal(self) -> str:
        """The name of the signal (``SIGSEGV``), or ``SIG64`` for one without a name."""
        try:
            return _signal.Signals(self.number).name
        except ValueError:
            return f"SIG{self.number}"

    @property
    def error(self) -> str:
        """The error message."""
        return f"killed by {self.signal}"


@dataclass(frozen=True, slots=True)
class SignalledWorker:
    """The job was killed because it had sent a stop signal to its own worker or supervisor, the ``recipient``."""

    number: int
    recipient: str = "worker"
    name: ClassVar[str] = "failed"

    @property
    def error(self) -> str:
        """The error message."""
        return f"killed because it sent {_signal.Signals(self.number).name} to its {self.recipient}"


@dataclass(frozen=True, slots=True)
class Raised:
    """A Python job raised an exception, or left no value.

    ``retry_after`` replaces the backoff (seconds); ``final`` allows no further attempt.
    """

    error: str
    code: int = 1
    retry_after: float | None = None
    final: bool = False
    name: ClassVar[str] = "failed"


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt ran longer than ``after`` seconds, its own timeout or the ``setting``, and was killed."""

    after: float
    setting: bool = True
    name: ClassVar[str] = "timed_out"

    @property
    def error(self) -> str:
        """The error message; names the option that raises the limit."""
        remedy = "--timeout, or 'queuectl config set timeout'" if self.setting else "--timeout"
        return f"timed out after {self.after:g} seconds (raise it with {remedy})"


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The job could not be started, for example because its directory was removed.

    ``final``: nor will another attempt, so none is counted.
    """

    why: str
    final: bool = False
    name: ClassVar[str] = "not_started"

    @property
    def error(self) -> str:
        """The error message."""
        return f"could not be started: {self.why}"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job was cancelled while it ran."""

    name: ClassVar[str] = "cancelled"
    error: ClassVar[str] = "cancelled by a person"


@dataclass(frozen=True, slots=True)
class Returned:
    """The worker returned the attempt to the queue at no cost."""

    why: str = "its worker was stopped"
    name: ClassVar[str] = "returned"

    @property
    def error(self) -> str:
        """The error message in the attempt's history."""
        return f"returned: {self.why}"


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker died or froze during the attempt."""

    worker: str
    why: str = "died"
    may_overlap: bool = False
    name: ClassVar[str] = "lost"

    @property
    def error(self) -> str:
        """The error message; says so if old processes may still be running."""
        where = "on another host or in another container"
        doubt = f"; its processes {where} may still run (may_overlap)" if self.may_overlap else ""
        return f"lost: {self.worker} {self.why}{doubt}"


SUPERVISOR_DIED = Returned("its supervisor died")
SENDER_ENDED = Returned("a stop signal came from a process that has ended")


@dataclass(frozen=True, slots=True)
class Copied:
    """The file of the queue was copied during the attempt, which continues in the original only."""

    name: ClassVar[str] = "lost"
    error: ClassVar[str] = "the queue was copied while it ran"


def exit_code(outcome: Outcome) -> int | None:
    """Return the exit code of the attempt's process; None if it did not exit by itself."""
    return outcome.code if isinstance(outcome, Exited | Raised) else None


exited = cache(Exited)
"""Return a shared :class:`Exited` for a code: most attempts exit with the same few."""

Outcome = Exited | Raised | Signalled | SignalledWorker | TimedOut | NotStarted | Cancelled | Returned | Lost | Copied

OUTCOME_CLASSES = {kind.__name__: kind for kind in get_args(Outcome)}
"""Outcome classes by name, for files and messages."""

OUTCOME_NAMES = ("succeeded", "failed", "timed_out", "lost", "cancelled", "returned", "not_started")
