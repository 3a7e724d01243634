"""A bench with real pools for what is told and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.queue import Queue


@pytest.fixture
def bench(queue: Queue) -> Iterator[Bench]:
    """Return a bench with a fresh queue; whatever was started there is ended."""
    found = Bench(queue)
    yield found
    found.close()
