"""Interface between a worker and the code that runs its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuectl_nb.model.attempt import Lease, Usage
    from queuectl_nb.model.outcome import Outcome

__all__ = ["CannotStart", "Executor", "Exit", "LeaseLost", "NoResources", "Run"]


class CannotStart(Exception):
    """The command cannot be started."""


class NoResources(Exception):
    """No disk space, memory or processes available at the moment; the attempt should be released."""


class LeaseLost(Exception):
    """A rescuer settled the attempt before it started."""


class Exit(NamedTuple):
    """Outcome and resource usage of a command."""

    outcome: Outcome
    usage: Usage


class Run(Protocol):
    """A started command."""

    lease: Lease
    pid: int | None
    started_at: float
    """Epoch seconds."""
    started: float
    """Monotonic seconds."""
    has_own_files: bool
    """Whether its output files are named after its token, instead of being those of the slot."""

    @property
    def paths(self) -> Mapping[str, str]:
        """Current paths of its output streams."""

    def move_to_own_files(self) -> None:
        """Rename its output files after its token: it runs for long or has printed much."""

    def clear_files(self) -> None:
        """Truncate the files of the slot, after the output was collected."""

    def poll(self) -> Exit | None:
        """Return the exit of the command, or None while it runs."""

    def has_leftovers(self) -> bool:
        """Return True if processes of an ended command are still running."""

    def terminate(self) -> None:
        """Send SIGTERM to all its processes."""

    def kill(self) -> None:
        """Send SIGKILL to all its processes, in whatever session they are."""


class Executor(Protocol):
    """Starts commands."""

    def start(self, lease: Lease, max_retries: int, owned: Callable[[], bool]) -> Run:
        """Start the command with its output going to the spool.

        ``max_retries`` is the setting, for jobs without their own value. ``owned`` is called once the output files
        are locked, when no rescuer can settle the attempt any more; False means that one already has.

        Raises
        ------
        CannotStart, NoResources, LeaseLost
            Nothing was started.
        """
