"""A short chaos test; run ``python tests/journeys/chaos.py`` for a long one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.journeys.chaos import Chaos
from tests.journeys.chaos_enqueuer_acts import held_locks
from tests.journeys.chaos_findings import VIOLATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb import Queue


@pytest.mark.timeout(420)
def test_short_chaos(tmp_path: Path) -> None:
    """Kills, freezes, forks, copies, vacuums, containers and interrupts, each at least once: no violation."""
    chaos = Chaos(tmp_path, jobs=150, seed=20261125)
    found = chaos.run(kills=14, seconds=120)
    assert {key: found[key] for key in VIOLATIONS} == dict.fromkeys(VIOLATIONS, 0), found["notes"]
    assert {act.name for act in (chaos.kill, *chaos.others)} <= found["acts"].keys()


def test_open_transactions_are_noticed(queue: Queue) -> None:
    """The chaos test sees the locks of a transaction, read or write, and none of an idle connection."""
    db = str(queue.path)
    queue.enqueue("true")
    assert held_locks(os.getpid(), db) == []
    with queue.store.db.write():
        assert any("write.lock" in lock for lock in held_locks(os.getpid(), db))
    with queue.store.db.read() as connection:
        connection.execute("SELECT count(*) FROM jobs").fetchone()
        assert any("-shm" in lock for lock in held_locks(os.getpid(), db))
    assert held_locks(os.getpid(), db) == []


@pytest.mark.soak
@pytest.mark.timeout(4000)
def test_long_chaos(tmp_path: Path) -> None:
    """10,000 jobs, 1,000 kills and 500 other acts."""
    found = Chaos(tmp_path, jobs=10_000, seed=1).run(kills=1000, seconds=3600)
    assert {key: found[key] for key in VIOLATIONS} == dict.fromkeys(VIOLATIONS, 0), found["notes"]
