"""The bench of the engine's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness


@pytest.fixture
def bench(bench: WorkerHarness) -> WorkerHarness:
    """Return the bench, quick to give up on jobs that do not end."""
    bench.queue.set("kill_grace", "0.3")
    return bench
