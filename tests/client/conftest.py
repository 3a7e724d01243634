"""A queue with workers, for the tests of functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.testing import temporary_queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb import Queue


@pytest.fixture(scope="module")
def served() -> Iterator[Queue]:
    """Return a queue with two workers, for the whole module: starting them takes longer than all of its jobs."""
    with temporary_queue() as queue:
        queue.set("backoff_max", 0)
        with queue.start_workers(2):
            yield queue
