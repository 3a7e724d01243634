"""Cards that keep themselves current: they write what changed, cost little, and end."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.live_cards import MAX_POLL_S, MAX_REDRAW_S, LiveCard, LiveCardUpdater, poll_delay
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker


@dataclass
class Page:
    """A place on a page that remembers what was written."""

    texts: list[str] = field(default_factory=list)
    htmls: list[str] = field(default_factory=list)
    shown = True

    def write(self, html: str, text: str) -> None:
        """Take what is shown."""
        self.htmls.append(html)
        self.texts.append(text)


@pytest.fixture
def page() -> Page:
    """Return a page."""
    return Page()


def test_a_card_writes_what_changed_and_nothing_else(queue: Queue, manual_worker: ManualWorker, page: Page) -> None:
    """It writes at the first look, at each change of the job, and the last at rest; looks without a change are mute."""
    manual_worker.add("a", "b")
    card = LiveCard(queue, "a", page)
    for _ in range(5):
        card.update()
    assert len(page.texts) == 1
    assert page.texts[0].startswith("<Job a: pending")
    queue.cancel("b")  # somebody else's change
    card.update()
    assert len(page.texts) == 1
    manual_worker.run("a")
    card.update()
    assert "attempt 1: succeeded" in page.texts[-1]
    assert ("qc-is-completed" in page.htmls[-1], card.finished, len(page.texts)) == (True, True, 2)
    queue.delete("a")
    card.update()
    assert len(page.texts) == 2


def test_a_running_job_shows_its_last_line_and_how_far_it_is(
    queue: Queue, manual_worker: ManualWorker, page: Page
) -> None:
    """Of what a job has printed the last line stands there, and a percentage as a bar."""
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


def test_a_removed_job_and_a_lost_file_end_a_card(queue: Queue, manual_worker: ManualWorker, page: Page) -> None:
    """Both are said in the card's place, and it is over."""
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


def test_looks_become_rare(
    queue: Queue, manual_worker: ManualWorker, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that waits for days is looked at every two seconds at most, and written never."""
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


def test_one_thread_keeps_all_and_ends_with_the_last(queue: Queue, manual_worker: ManualWorker) -> None:
    """The cards follow in the background; when all rest the thread ends, and a new card starts another."""
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


def test_a_card_that_fails_ends_alone(
    queue: Queue, manual_worker: ManualWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong in one card is told in its place; the others go on."""
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
    """Return a way to write that takes no HTML."""

    def write(html: str, text: str) -> None:
        if html:
            msg = "broken"
            raise ValueError(msg)
        page.texts.append(text)

    return write


def test_stopped_cards_keep_what_they_show(queue: Queue, manual_worker: ManualWorker, page: Page) -> None:
    """After a stop nothing is written any more, and the thread ends."""
    cards = LiveCardUpdater()
    manual_worker.add("a")
    cards.add(LiveCard(queue, "a", page))
    cards.stop()
    until(lambda: not [each for each in threading.enumerate() if each.name == "queuectl-live"])
    manual_worker.run("a")
    cards.refresh()
    assert len(page.texts) == 1


def test_a_refresh_brings_all_up_to_the_moment(queue: Queue, manual_worker: ManualWorker, page: Page) -> None:
    """After a refresh in the calling thread the card shows what is, whenever the thread would have looked."""
    cards = LiveCardUpdater()
    manual_worker.add("a")
    cards.add(LiveCard(queue, "a", page))
    manual_worker.run("a")
    cards.refresh()
    assert "completed" in page.texts[-1]
    assert len(cards) == 0


def test_without_a_page_nothing_is_live(queue: Queue, manual_worker: ManualWorker) -> None:
    """In a script a job refuses to show itself, and IPython falls back to its text."""
    manual_worker.add("a")
    with pytest.raises(NotImplementedError):
        queue.job("a")._ipython_display_()
