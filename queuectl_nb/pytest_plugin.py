"""The pytest fixture ``queuectl_queue``, registered by an entry point; pytest imports this module at every start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client import Queue

__all__ = ["queuectl_queue"]


@pytest.fixture
def queuectl_queue() -> Iterator[Queue]:
    """Give an empty queue in a temporary directory; see :mod:`queuectl_nb.testing`."""
    from queuectl_nb.testing import temporary_queue

    with temporary_queue() as queue:
        yield queue
