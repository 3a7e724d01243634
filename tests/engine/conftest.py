"""The bench of the engine's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.queue import Queue


@pytest.fixture
def bench(queue: Queue) -> Iterator[Bench]:
    """Return a bench on a fresh queue, quick to give up on jobs that do not end."""
    queue.set("kill_grace", "0.3")
    found = Bench(queue)
    yield found
    found.close()
