"""Edits reach workers: running attempts take a new timeout, and idle workers start what is now due."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import WrongState
from tests.engine.harness import until

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness


def test_running_attempt_takes_a_new_timeout(harness: WorkerHarness) -> None:
    """A shorter timeout ends an attempt that had none, and counts from its start."""
    harness.start()
    job = harness.add("sleep 600", timeout=0, max_retries=1)
    until(lambda: job.state == "processing")
    assert job.edit(timeout=0.5).timeout == 0.5
    assert job.wait(60).state == "dead"
    assert harness.outcomes(job) == ["timed_out"]
    with pytest.raises(WrongState, match="is dead"):
        job.edit(timeout=5)


def test_running_attempt_gets_more_time(harness: WorkerHarness) -> None:
    """An attempt goes on past its first timeout, or that of a later attempt if the machine is too busy for an edit."""
    harness.queue.set("backoff_max", 0)
    harness.start()
    job = harness.add("sleep 4", timeout=3, max_retries=20)
    until(lambda: job.state == "processing")
    job.edit(timeout=600)
    assert job.wait(60).state == "completed"


def test_idle_worker_starts_what_is_now_due(harness: WorkerHarness) -> None:
    """A delayed job starts at once when its delay is removed, and a blocked one when nothing is before it."""
    harness.start()
    delayed = harness.add("true", delay=3600)
    blocked = harness.add("true", after=[delayed.id])
    blocked.edit(after=[])
    assert blocked.wait(60).state == "completed"
    delayed.edit(delay=0)
    assert delayed.wait(60).state == "completed"
    assert delayed.started_at < time.time()
