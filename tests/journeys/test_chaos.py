"""P3, P4 and P5 in the size of CI; the long run is ``python tests/journeys/chaos.py`` with sizes of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.harness import job_processes
from tests.journeys.chaos import BROKEN, Chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
def test_kill_9_at_random_loses_nothing_and_runs_nothing_twice(tmp_path: Path) -> None:
    """300 jobs, 60 kills of workers, pools and both: nothing overlaps, nothing is unfinished, nothing is left."""
    found = Chaos(tmp_path, jobs=300, seed=20261125).run(kills=60, seconds=120)
    assert {key: found[key] for key in BROKEN} == dict.fromkeys(BROKEN, 0)
    assert found["outcomes"]["succeeded"] == 300
    assert found["outcomes"].get("lost", 0) >= 5, "a run in which nothing was lost on the way shows nothing"
    assert job_processes(tmp_path / "chaos.db") == []


@pytest.mark.soak
@pytest.mark.timeout(4000)
def test_chaos_at_length(tmp_path: Path) -> None:
    """10,000 jobs, 1,000 kills."""
    found = Chaos(tmp_path, jobs=10_000, seed=1).run(kills=1000, seconds=3600)
    assert {key: found[key] for key in BROKEN} == dict.fromkeys(BROKEN, 0)
