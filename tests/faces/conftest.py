"""A desk whose terminals are real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.journeys.console import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def desk(queue_path: Path) -> Iterator[Desk]:
    """Return a desk with a fresh queue; its terminals are closed with the test."""
    found = Desk(queue_path)
    yield found
    found.close()
