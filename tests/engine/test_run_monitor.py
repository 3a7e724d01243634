"""Run monitor: when a run is over, and which outcome counts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from queuectl_nb.engine import run_monitor
from queuectl_nb.engine.run_monitor import MAX_SHORT_JOB_S, RunMonitor
from queuectl_nb.model.outcome import Cancelled, Exited, Outcome, Returned, TimedOut
from queuectl_nb.model.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.model.attempt import Lease


@dataclass
class FakeLease:
    """The part of a lease that the monitor uses."""

    job_id: str = "job-1"
    timeout: float | None = None


@dataclass
class FakeRun:
    """A run controlled by the test."""

    lease: Lease = field(default_factory=lambda: cast("Any", FakeLease()))
    started: float = field(default_factory=time.monotonic)
    has_own_files: bool = True
    exit: Outcome | None = None
    left: bool = False
    sent: list[str] = field(default_factory=list)

    def poll(self) -> Outcome | None:
        return self.exit

    def has_leftovers(self) -> bool:
        return self.left

    def move_to_own_files(self) -> None:
        self.has_own_files = True

    def terminate(self) -> None:
        self.sent.append("TERM")

    def kill(self) -> None:
        self.sent.append("KILL")


def monitor(run: FakeRun) -> RunMonitor:
    """Return a monitor of a fake run."""
    return RunMonitor(cast("Any", run))


def test_run_is_over_when_no_process_is_left() -> None:
    """A run is over when its shell has exited and left no process; the exit is its outcome."""
    run = FakeRun()
    monitored = monitor(run)
    assert not monitored.step(Settings.from_stored({}), 5)
    run.exit = Exited(3)
    assert monitored.step(Settings.from_stored({}), 5)
    assert monitored.outcome == Exited(3)
    assert monitored.was_short
    assert run.sent == []


def test_leftover_processes_are_killed_first() -> None:
    """Leftover processes get SIGTERM, then SIGKILL; the run is over afterwards, with the outcome of the shell."""
    run = FakeRun(exit=Exited(0), left=True)
    monitored = monitor(run)
    assert not monitored.step(Settings.from_stored({}), 0)
    assert run.sent[0] == "TERM"
    monitored.step(Settings.from_stored({}), 0)
    assert "KILL" in run.sent
    run.left = False
    assert monitored.step(Settings.from_stored({}), 0)
    assert monitored.outcome == Exited(0)


def test_stop_does_not_change_the_outcome_of_an_exited_shell() -> None:
    """A stop while leftovers are being killed speeds that up; the outcome of the shell stays."""
    run = FakeRun(exit=Exited(0), left=True)
    monitored = monitor(run)
    assert not monitored.step(Settings.from_stored({}), 600)
    monitored.end(Returned(), 0)
    monitored.step(Settings.from_stored({}), 600)
    assert run.sent == ["TERM", "KILL"]
    run.left = False
    assert monitored.step(Settings.from_stored({}), 600)
    assert monitored.outcome == Exited(0)


@pytest.mark.parametrize("forced", [Returned(), Cancelled()])
def test_exit_that_was_not_seen_yet_counts(forced: Outcome) -> None:
    """A command that has exited is not run again because a stop arrives before the exit is noticed."""
    run = FakeRun()
    monitored = monitor(run)
    assert not monitored.step(Settings.from_stored({}), 5)
    run.exit = Exited(0)
    monitored.end(forced, 5)
    assert run.sent == []
    assert monitored.step(Settings.from_stored({}), 5)
    assert monitored.outcome == Exited(0)


def test_first_forced_outcome_wins() -> None:
    """A cancelled run stays cancelled if a stop follows, whatever its exit code."""
    run = FakeRun()
    monitored = monitor(run)
    monitored.end(Cancelled(), 600)
    monitored.end(Returned(), 600)
    assert run.sent == ["TERM"]
    run.exit = Exited(0)
    assert monitored.step(Settings.from_stored({}), 600)
    assert monitored.outcome == Cancelled()


def test_timeout() -> None:
    """A run ends after its own timeout or that of the settings; 0 means no timeout."""
    late = time.monotonic() - 100
    for own, limit in ((None, 30.0), (50.0, 50.0)):
        run = FakeRun(lease=cast("Any", FakeLease(timeout=own)), started=late)
        monitored = monitor(run)
        assert monitored.wake_at(Settings.from_stored({})) == late + limit
        monitored.step(Settings.from_stored({}), 600)
        assert monitored.forced_outcome == TimedOut(limit, setting=own is None)
    unlimited = monitor(FakeRun(lease=cast("Any", FakeLease(timeout=0)), started=late))
    assert not unlimited.step(Settings.from_stored({}), 600)
    assert unlimited.forced_outcome is None
    assert unlimited.wake_at(Settings.from_stored({})) is None


def test_no_outcome_before_the_exit() -> None:
    """Reading the outcome of a running attempt is an error."""
    with pytest.raises(RuntimeError, match="job-1 is still running"):
        monitor(FakeRun()).outcome  # noqa: B018 - the property raises


@pytest.mark.parametrize(
    ("loadavg", "seconds"),
    [
        ("0.2 0.1 0.0 1/900 77", 0.01),
        ("0.2 0.1 0.0 20/900 77", 0.1),
        ("0.2 0.1 0.0 256/900 77", MAX_SHORT_JOB_S),
        (None, 0.01),
    ],
)
def test_short_jobs_on_a_busy_machine(
    loadavg: str | None, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job is long if it runs for more than 10 ms times the number of processes that share a core."""
    if loadavg is not None:
        (tmp_path / "loadavg").write_text(loadavg)
    monkeypatch.setattr(run_monitor, "LOADAVG", str(tmp_path / "loadavg"))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monitored = monitor(FakeRun(started=100.0))
    assert not monitored.is_long(100.009)
    assert not monitored.is_long(100.0 + seconds - 0.001)
    assert monitored.is_long(100.0 + seconds)
    monkeypatch.setattr(run_monitor, "short_job_s", lambda: 60.0)
    assert monitored.is_long(101.0), "a long run stays long"
