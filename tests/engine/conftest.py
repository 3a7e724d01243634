"""Fixtures for the engine tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness


@pytest.fixture
def harness(harness: WorkerHarness) -> WorkerHarness:
    """Return the harness with a short kill grace."""
    harness.queue.set("kill_grace", "0.3")
    return harness
