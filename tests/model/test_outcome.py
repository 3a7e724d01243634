"""The outcomes of an attempt: what is stored and shown for each."""

from __future__ import annotations

import pytest

from queuectl_nb.model.outcome import (
    OUTCOME_CLASSES,
    OUTCOME_NAMES,
    Cancelled,
    Copied,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Returned,
    Signalled,
    TimedOut,
)


@pytest.mark.parametrize(
    ("outcome", "name", "error"),
    [
        (Exited(0), "succeeded", None),
        (Exited(2), "failed", "exit code 2"),
        (Signalled(9), "failed", "killed by SIGKILL"),
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
