"""A pool's worker that ended: whether it is replaced, and when."""

from __future__ import annotations

import signal
import subprocess
import time
from types import SimpleNamespace
from typing import cast

import pytest

from queuectl_nb.engine.events import Events
from queuectl_nb.engine.worker_process import LONGEST_PAUSE, WorkerProcess

SILENT = Events(None)


def ended(
    member: WorkerProcess, how: str, *, stopping: bool = False, gone: bool = False, events: Events = SILENT
) -> int:
    """Let the member's process be one that ends by ``how``, and bury it."""
    member.process = subprocess.Popen(["sh", "-c", how], stdin=subprocess.PIPE, bufsize=0)
    member._started = time.monotonic()
    member.process.wait()
    return member.bury(events, stopping=stopping, gone=gone)


def test_one_that_was_asked_to_end_is_not_replaced() -> None:
    """Exit code 0 is an end in good order."""
    member = WorkerProcess("worker-1", 0)
    assert ended(member, "exit 0") == 0
    assert member.goodbye
    assert member.process is None
    assert not member.settled


def test_one_that_keeps_dying_is_replaced_ever_later() -> None:
    """The first death is followed by a replacement at once, the next by pauses that double, up to the longest."""
    member = WorkerProcess("worker-1", 0)
    told: list[float] = []
    events = cast("Events", SimpleNamespace(emit=lambda _, **facts: told.append(facts["restart_in"])))
    for _ in range(12):
        assert ended(member, "kill -9 $$", events=events) == -signal.SIGKILL
        assert not member.goodbye
        assert member.restart_at <= time.monotonic() + told[-1]
    assert told[:4] == [0.0, 0.1, 0.2, 0.4]
    assert told == sorted(told)
    assert told[-1] == LONGEST_PAUSE


def test_the_first_that_cannot_use_the_file_ends_for_good() -> None:
    """Who starts workers on a file that cannot be used is told, instead of being kept waiting."""
    member = WorkerProcess("worker-1", 0)
    assert ended(member, "exit 3") == 3
    assert member.goodbye


def test_a_replacement_that_meets_a_full_disk_is_tried_again() -> None:
    """After a death, a replacement that cannot use the file just now is replaced in turn, unless the file is gone."""
    member = WorkerProcess("worker-1", 0)
    ended(member, "kill -9 $$")
    ended(member, "exit 3")
    assert not member.goodbye
    ended(member, "exit 3", gone=True)
    assert member.goodbye


def test_nobody_is_replaced_while_the_pool_stops() -> None:
    """A death during a stop plans no new start."""
    member = WorkerProcess("worker-1", 0)
    ended(member, "kill -9 $$", stopping=True)
    assert member.restart_at == 0


def test_a_living_one_is_not_buried() -> None:
    """To bury what has not ended is a mistake."""
    with pytest.raises(RuntimeError, match="worker-1 has not ended"):
        WorkerProcess("worker-1", 0).bury(SILENT, stopping=False, gone=False)
