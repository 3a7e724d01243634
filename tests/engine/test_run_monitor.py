"""Attending one run: when it is over, and which outcome counts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from queuectl_nb.engine.executor import Exit
from queuectl_nb.engine.run_monitor import RunMonitor
from queuectl_nb.model.attempt import Usage
from queuectl_nb.model.outcome import Cancelled, Exited, Outcome, Returned, TimedOut
from queuectl_nb.model.settings import Settings

if TYPE_CHECKING:
    from queuectl_nb.model.attempt import Lease


@dataclass
class Work:
    """The part of a lease that counts here."""

    job_id: str = "job-1"
    timeout: float | None = None


@dataclass
class Fake:
    """A run that ends when the test says so."""

    lease: Lease = field(default_factory=lambda: cast("Any", Work()))
    started: float = field(default_factory=time.monotonic)
    has_own_files: bool = True
    exit: Exit | None = None
    left: bool = False
    sent: list[str] = field(default_factory=list)

    def poll(self) -> Exit | None:
        return self.exit

    def has_leftovers(self) -> bool:
        return self.left

    def move_to_own_files(self) -> None:
        self.has_own_files = True

    def terminate(self) -> None:
        self.sent.append("TERM")

    def kill(self) -> None:
        self.sent.append("KILL")


def attend(run: Fake) -> RunMonitor:
    """Attend a fake run."""
    return RunMonitor(cast("Any", run))


def ended(outcome: Outcome) -> Exit:
    """Return how a shell ended."""
    return Exit(outcome, Usage())


def test_over_when_nothing_is_left() -> None:
    """A run is over when its shell ended and left nothing; its outcome is the shell's."""
    run = Fake()
    watched = attend(run)
    assert not watched.step(Settings.from_stored({}), 5)
    run.exit = ended(Exited(3))
    assert watched.step(Settings.from_stored({}), 5)
    assert watched.outcome == Exited(3)
    assert watched.was_short
    assert run.sent == []


def test_what_is_left_is_ended_first() -> None:
    """What a shell leaves gets TERM, then KILL after the grace; only then is the run over, with the shell's outcome."""
    run = Fake(exit=ended(Exited(0)), left=True)
    watched = attend(run)
    assert not watched.step(Settings.from_stored({}), 0)
    assert run.sent[0] == "TERM"
    watched.step(Settings.from_stored({}), 0)
    assert "KILL" in run.sent
    run.left = False
    assert watched.step(Settings.from_stored({}), 0)
    assert watched.outcome == Exited(0)


def test_a_stop_does_not_undo_a_success() -> None:
    """A stop or cancel while leftovers are swept hurries the sweep, and what the shell achieved stays its outcome."""
    run = Fake(exit=ended(Exited(0)), left=True)
    watched = attend(run)
    assert not watched.step(Settings.from_stored({}), 600)
    watched.end(Returned(), 0)
    watched.step(Settings.from_stored({}), 600)
    assert run.sent == ["TERM", "KILL"]
    run.left = False
    assert watched.step(Settings.from_stored({}), 600)
    assert watched.outcome == Exited(0)


def test_the_first_verdict_counts() -> None:
    """What was cancelled stays cancelled when a stop follows, however its shell takes the TERM."""
    run = Fake()
    watched = attend(run)
    watched.end(Cancelled(), 600)
    watched.end(Returned(), 600)
    assert run.sent == ["TERM"]
    run.exit = ended(Exited(0))
    assert watched.step(Settings.from_stored({}), 600)
    assert watched.outcome == Cancelled()


def test_time_runs_out() -> None:
    """Past its own timeout, or the setting's, a run is ended as timed out; one with timeout 0 never is."""
    late = time.monotonic() - 100
    for own, limit in ((None, 30.0), (50.0, 50.0)):
        run = Fake(lease=cast("Any", Work(timeout=own)), started=late)
        watched = attend(run)
        assert watched.wake_at(Settings.from_stored({})) == late + limit
        watched.step(Settings.from_stored({}), 600)
        assert watched.forced_outcome == TimedOut(limit)
    for_ever = attend(Fake(lease=cast("Any", Work(timeout=0)), started=late))
    assert not for_ever.step(Settings.from_stored({}), 600)
    assert for_ever.forced_outcome is None
    assert for_ever.wake_at(Settings.from_stored({})) is None


def test_no_outcome_before_the_end() -> None:
    """To ask for the outcome of what still runs is a mistake."""
    with pytest.raises(RuntimeError, match="job-1 is still running"):
        attend(Fake()).outcome  # noqa: B018 - asking is the point
