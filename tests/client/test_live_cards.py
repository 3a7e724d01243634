"""Live cards: they write changes only, cost little, and end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.live_cards import MAX_POLL_S, MAX_REDRAW_S, LiveCard, LiveCardUpdater, poll_delay
from queuectl_nb.render.output_cell import OutputCell
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker


class Page(OutputCell):
    """An output cell that records what was written."""

    def __init__(self) -> None:
        super().__init__(shell=None)
        self.texts: list[str] = []
        self.htmls: list[str] = []
        self.shown = True

    def write(self, html: str, text: str) -> None:
        """Record the HTML."""
        self.htmls.append(html)
        self.texts.append(text)


@pytest.fixture
def page() -> Page:
    """Return an output cell."""
    return Page()


def test_writes(queue: Queue, manual_worker: ManualWorker, page: Page) -> None:
    """A card writes first, at each change of the job, and when it finishes, not otherwise."""
    manual_worker.add("a", "b")
    card = LiveCard(queue, "a", page)
    for _ in range(5):
        card.update()
    assert len(page.texts) == 1
    assert page.texts[0].startswith("Job a: pending")
    queue.cancel("b")  # somebody else's change
    card.update()
    assert len(page.texts) == 1
    manual_worker.run("a")
    card.update()
    assert "succeeded" in page.texts[-1]
    assert ("qc-is-completed" in page.htmls[-1], card.finished, len(page.texts)) == (True, True, 2)
    queue.delete("a")
    card.update()
    assert len(page.texts) == 2


def test_progress(queue: Queue, manual_worker: ManualWorker, page: Page) -> None:
    """A running job's card has its last line of output, and a bar for a percentage."""
    manual_worker.add("a")
    lease = manual_worker.claim("a")
    spool = queue.store.spool
    spool.path(lease.token, "stdout").write_text("loading\n")
    card = LiveCard(queue, "a", page)
    card.update()
    assert "loading" in page.texts[-1]
    assert "progressbar" not in page.htmls[-1]
    spool.path(lease.token, "stderr").write_text("\r 10%|#\r 45%|####<script>\r")
    card.update(now=True)
    assert "45%" in page.texts[-1]
    assert 'aria-valuenow="45"' in page.htmls[-1]
    assert "<script>" not in page.htmls[-1]


def test_deleted_job_and_missing_file(queue: Queue, manual_worker: ManualWorker, page: Page) -> None:
    """Either is reported in the card, which ends."""
    manual_worker.add("a", "b")
    card, other = LiveCard(queue, "a", page), LiveCard(queue, "b", page)
    card.update()
    other.update()
    queue.delete("a")
    card.update()
    assert (card.finished, page.texts[-1]) == (True, "<Job a: removed>")
    queue.path.unlink()
    other.update()
    assert other.finished
    assert "deleted or replaced" in page.texts[-1]


def test_refresh_interval(
    queue: Queue, manual_worker: ManualWorker, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that waits for days is read every two seconds at most, and not written."""
    manual_worker.add("a", delay=10**6)
    card = LiveCard(queue, "a", page)
    card.update()
    day = time.monotonic() + 86_400
    monkeypatch.setattr("queuectl_nb.client.live_cards.time.monotonic", lambda: day)
    card.update()
    assert (card.due - day, len(page.texts)) == (MAX_POLL_S, 1)
    assert (poll_delay(0, MAX_REDRAW_S), poll_delay(300, MAX_REDRAW_S), poll_delay(86_400, MAX_REDRAW_S)) == (
        0.25,
        5.0,
        MAX_REDRAW_S,
    )


def test_one_thread(queue: Queue, manual_worker: ManualWorker) -> None:
    """All cards are updated by one thread, which ends with the last; a new card starts another."""
    cards, pages = LiveCardUpdater(), [Page(), Page()]
    manual_worker.add("a", "b")
    for name, page in zip("ab", pages, strict=True):
        cards.add(LiveCard(queue, name, page))
    assert len(cards) == 2
    manual_worker.run("a")
    until(lambda: "completed" in pages[0].texts[-1])
    assert len(cards) == 1
    manual_worker.run("b")
    until(lambda: "completed" in pages[1].texts[-1])
    until(lambda: not [each for each in threading.enumerate() if each.name == "queuectl-live"])
    manual_worker.add("c")
    page = Page()
    cards.add(LiveCard(queue, "c", page))
    manual_worker.run("c")
    until(lambda: "completed" in page.texts[-1])


def test_failing_card(queue: Queue, manual_worker: ManualWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in one card is reported there; the others continue."""
    cards, pages = LiveCardUpdater(), [Page(), Page()]
    manual_worker.add("a", "b")
    for name, page in zip("ab", pages, strict=True):
        cards.add(LiveCard(queue, name, page))
    monkeypatch.setattr(pages[0], "write", _broken(pages[0]))
    manual_worker.run("a")
    until(lambda: len(cards) == 1)
    assert pages[0].texts[-1] == "<Job a: no longer updated (ValueError: broken)>"
    manual_worker.run("b")
    until(lambda: "completed" in pages[1].texts[-1])


def _broken(page: Page) -> Callable[[str, str], None]:
    """Return a display that raises."""

    def write(html: str, text: str) -> None:
        if html:
            msg = "broken"
            raise ValueError(msg)
        page.texts.append(text)

    return write


def test_stop(queue: Queue, manual_worker: ManualWorker, page: Page) -> None:
    """After a stop nothing more is written, and the thread ends."""
    cards = LiveCardUpdater()
    manual_worker.add("a")
    cards.add(LiveCard(queue, "a", page))
    cards.stop()
    until(lambda: not [each for each in threading.enumerate() if each.name == "queuectl-live"])
    manual_worker.run("a")
    cards.refresh()
    assert len(page.texts) == 1


def test_refresh(queue: Queue, manual_worker: ManualWorker, page: Page) -> None:
    """A refresh by the calling thread updates all cards at once."""
    cards = LiveCardUpdater()
    manual_worker.add("a")
    cards.add(LiveCard(queue, "a", page))
    manual_worker.run("a")
    cards.refresh()
    assert "completed" in page.texts[-1]
    assert len(cards) == 0


def test_without_a_notebook(queue: Queue, manual_worker: ManualWorker) -> None:
    """In a script a job is displayed as text."""
    manual_worker.add("a")
    with pytest.raises(NotImplementedError):
        queue.job("a")._ipython_display_()
