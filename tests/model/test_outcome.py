"""The outcomes of an attempt: what is stored and shown for each."""

from __future__ import annotations

import pytest

from queuectl_nb.model.outcome import (
    OUTCOME_CLASSES,
    OUTCOME_NAMES,
    SUPERVISOR_DIED,
    Cancelled,
    Copied,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Raised,
    Returned,
    Signalled,
    SignalledWorker,
    TimedOut,
    exit_code,
    exited,
)


@pytest.mark.parametrize(
    ("outcome", "name", "error"),
    [
        (Exited(0), "succeeded", None),
        (Exited(2), "failed", "exit code 2"),
        (Signalled(9), "failed", "killed by SIGKILL"),
        (SignalledWorker(15), "failed", "killed because it sent SIGTERM to its worker"),
        (SignalledWorker(1, "supervisor"), "failed", "killed because it sent SIGHUP to its supervisor"),
        (Raised("ValueError: bad"), "failed", "ValueError: bad"),
        (SUPERVISOR_DIED, "returned", "returned: its supervisor died"),
        (NotStarted("no directory"), "not_started", "could not be started: no directory"),
        (Cancelled(), "cancelled", "cancelled by a person"),
        (Returned(), "returned", "returned: its worker was stopped"),
        (Returned("its files are gone"), "returned", "returned: its files are gone"),
        (Lost("worker-1"), "lost", "lost: worker-1 died"),
        (Lost("worker-1", "froze"), "lost", "lost: worker-1 froze"),
        (
            Lost("worker-1", may_overlap=True),
            "lost",
            "lost: worker-1 died; its processes on another host or in another container may still run (may_overlap)",
        ),
        (Copied(), "lost", "the queue was copied while it ran"),
    ],
)
def test_name_and_error(outcome: Outcome, name: str, error: str | None) -> None:
    """Each outcome has the name that is stored and one line that tells what happened."""
    assert (outcome.name, outcome.error) == (name, error)
    assert name in OUTCOME_NAMES
    assert OUTCOME_CLASSES[type(outcome).__name__] is type(outcome)


def test_timeout() -> None:
    """A timeout names its seconds and how to raise it."""
    outcome = TimedOut(1.5)
    assert outcome.name == "timed_out"
    assert outcome.error == "timed out after 1.5 seconds (raise it with --timeout, or 'queuectl config set timeout')"


def test_exit_code() -> None:
    """Commands that exit and Python jobs that raise have an exit code; what is killed has none."""
    assert [exit_code(each) for each in (exited(0), exited(7), Raised("bad"), Raised("bad", 3))] == [0, 7, 1, 3]
    assert [exit_code(each) for each in (Signalled(9), TimedOut(1), Lost("w"), Cancelled())] == [None] * 4


def test_an_exception_is_retried() -> None:
    """Unless it says otherwise, an exception or a failed start allows another attempt after the usual delay."""
    assert Raised("bad") == Raised("bad", 1, None, final=False)
    assert NotStarted("bad") == NotStarted("bad", final=False)
