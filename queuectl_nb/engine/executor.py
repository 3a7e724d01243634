"""What a worker needs of whatever runs commands: start one, look whether it ended, end it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuectl_nb.model.attempt import Lease, Usage
    from queuectl_nb.model.outcome import Outcome

__all__ = ["CannotStart", "Executor", "Exit", "LeaseLost", "NoRoom", "Run"]


class CannotStart(Exception):
    """The command cannot be started; the text says why."""


class NoRoom(Exception):
    """No room for output or processes on this machine just now: the attempt should be given back."""


class LeaseLost(Exception):
    """Somebody else took the attempt before it was started."""


class Exit(NamedTuple):
    """How the command itself ended, and what it used."""

    outcome: Outcome
    usage: Usage


class Run(Protocol):
    """A command that was started."""

    lease: Lease
    pid: int | None
    started_at: float
    """Epoch seconds."""
    started: float
    """Monotonic seconds."""
    has_own_files: bool
    """Whether its files are named by its token yet."""

    @property
    def paths(self) -> Mapping[str, str]:
        """Where its streams lie now."""

    def move_to_own_files(self) -> None:
        """Give it files of its own, now that it lives for longer or printed much."""

    def clear(self) -> None:
        """Empty its files, if they are not its own: it is over and what it printed was taken."""

    def poll(self) -> Exit | None:
        """Return how the command ended, once it has."""

    def leftovers(self) -> bool:
        """Tell whether anything that it started is still there after its end."""

    def terminate(self) -> None:
        """Ask everything that it started to end (TERM)."""

    def kill(self) -> None:
        """End everything that it started (KILL), whatever session it put itself in."""


class Executor(Protocol):
    """Starts commands."""

    def start(self, lease: Lease, max_retries: int, ours: Callable[[], bool]) -> Run:
        """Start the lease's command, its output going to the spool.

        ``max_retries`` is the setting, told to jobs that follow it. ``ours`` is asked at the last moment, when no
        rescuer can settle the attempt any more, whether one has done so already.

        Raises :class:`CannotStart`, :class:`NoRoom` or :class:`LeaseLost`.
        """
