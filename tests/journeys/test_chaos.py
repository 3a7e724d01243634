"""P3, P4 and P5: a short chaos test; run ``python tests/journeys/chaos.py`` for a long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.harness import job_processes
from tests.journeys.chaos import VIOLATIONS, Chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
def test_random_kills_lose_no_job_and_cause_no_overlap(tmp_path: Path) -> None:
    """300 jobs and 60 kills: no overlaps, no unfinished jobs, no leftover processes."""
    found = Chaos(tmp_path, jobs=300, seed=20261125).run(kills=60, seconds=120)
    assert {key: found[key] for key in VIOLATIONS} == dict.fromkeys(VIOLATIONS, 0)
    assert found["outcomes"]["succeeded"] == 300
    assert found["outcomes"].get("lost", 0) >= 5, "too few lost attempts to be meaningful"
    assert job_processes(tmp_path / "chaos.db") == []


@pytest.mark.soak
@pytest.mark.timeout(4000)
def test_long_chaos(tmp_path: Path) -> None:
    """10,000 jobs, 1,000 kills."""
    found = Chaos(tmp_path, jobs=10_000, seed=1).run(kills=1000, seconds=3600)
    assert {key: found[key] for key in VIOLATIONS} == dict.fromkeys(VIOLATIONS, 0)
