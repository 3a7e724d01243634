"""A queue with workers, and outputs in which cards are displayed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.live_cards import LiveCardUpdater
from queuectl_nb.render.output_cell import OutputCell
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


class Page(OutputCell):
    """An output cell that records what was written."""

    def __init__(self) -> None:
        super().__init__(publisher=None, shown=True)
        self.texts: list[str] = []
        self.htmls: list[str] = []

    def write(self, html: str, text: str) -> None:
        """Record the content."""
        self.htmls.append(html)
        self.texts.append(text)


@pytest.fixture
def page() -> Page:
    """Return an output cell."""
    return Page()


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> LiveCardUpdater:
    """Return an updater whose thread does nothing: a test updates the cards itself."""
    monkeypatch.setattr(LiveCardUpdater, "_run", lambda _self: None)
    return LiveCardUpdater()
