"""Live cards: they write changes only, cost little, and follow a job that is retried."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.live_cards import (
    MAX_POLL_S,
    MAX_REDRAW_S,
    MAX_REDRAWS_PER_S,
    LiveCard,
    LiveCardUpdater,
    poll_delay,
)
from queuectl_nb.model.errors import Busy
from tests.client.conftest import Page
from tests.engine.harness import until

if TYPE_CHECKING:
    import pytest

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker


def show(queue: Queue, job_id: str, page: Page, cards: LiveCardUpdater | None = None) -> LiveCard:
    """Display a job, and add its card to an updater."""
    card = LiveCard(queue, job_id, page)
    page.write(*card.render())
    if cards is not None:
        cards.add(card)
    return card


def test_writes(queue: Queue, manual_worker: ManualWorker, page: Page, cards: LiveCardUpdater) -> None:
    """A card is written at each change of the job, not otherwise; it follows the job when that is retried."""
    manual_worker.add("a", "b")
    card = show(queue, "a", page, cards)
    assert page.texts[0].startswith("Job a: pending")
    for _ in range(5):
        cards._update([card])
    queue.cancel("b")  # somebody else's change
    cards._update([card])
    assert len(page.texts) == 1
    assert 'data-qc-time="as of ' in page.htmls[-1]  # shown where nothing updates the card
    manual_worker.run("a")
    cards._update([card])
    assert ("qc-is-completed" in page.htmls[-1], len(page.texts)) == (True, 2)
    assert 'data-qc-time="' not in page.htmls[-1]
    queue.retry("a")
    cards._update([card])
    assert page.texts[-1].startswith("Job a: pending")
    assert len(cards) == 1


def test_progress(queue: Queue, manual_worker: ManualWorker, page: Page, cards: LiveCardUpdater) -> None:
    """A running job's card has its last line of output, and a bar for a percentage."""
    manual_worker.add("a")
    lease = manual_worker.claim("a")
    spool = queue.store.spool
    spool.path(lease.token, "stdout").write_text("loading\n")
    show(queue, "a", page, cards)
    assert "loading" in page.texts[-1]
    assert "progressbar" not in page.htmls[-1]
    spool.path(lease.token, "stderr").write_text("\r 10%|#\r 45%|####<script>\r")
    cards.refresh()
    assert "45%" in page.texts[-1]
    assert 'aria-valuenow="45"' in page.htmls[-1]
    assert "<script>" not in page.htmls[-1]


def test_deleted_job_and_missing_file(
    queue: Queue, manual_worker: ManualWorker, page: Page, cards: LiveCardUpdater
) -> None:
    """Either is reported in the card, which ends."""
    manual_worker.add("a", "b")
    other = Page()
    card, last = show(queue, "a", page, cards), show(queue, "b", other, cards)
    queue.delete("a")
    cards._update([card, last])
    assert (card.ended, page.texts[-1], len(cards)) == (True, "Job a: removed", 1)
    queue.path.unlink()
    cards._update([last])
    assert last.ended
    assert "deleted or replaced" in other.texts[-1]


def test_busy_database(
    queue: Queue, manual_worker: ManualWorker, page: Page, cards: LiveCardUpdater, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card survives a database that could not be read in time."""
    manual_worker.add("a")
    card = show(queue, "a", page, cards)

    def fail() -> None:
        msg = "busy"
        raise Busy(msg)

    with monkeypatch.context() as patch:
        patch.setattr(queue.store.db, "revision", fail)
        cards._update([card])
    assert not card.ended
    manual_worker.run("a")
    cards._update([card])
    assert "completed" in page.texts[-1]


def test_intervals(queue: Queue, manual_worker: ManualWorker, page: Page, cards: LiveCardUpdater) -> None:
    """A queue on which nothing happens is checked every two seconds, whatever the cards show."""
    manual_worker.add("a", delay=10**6)
    card = show(queue, "a", page, cards)
    card.changed_at -= 86_400
    assert cards._delay([card]) == MAX_POLL_S
    assert (poll_delay(0, MAX_REDRAW_S), poll_delay(300, MAX_REDRAW_S), poll_delay(86_400, MAX_REDRAW_S)) == (
        0.25,
        5.0,
        MAX_REDRAW_S,
    )


def test_one_query_for_all_cards(
    queue: Queue, manual_worker: ManualWorker, cards: LiveCardUpdater, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cards of unchanged jobs are not read: a check of their queue, and a query for what was written."""
    names = [f"j{number}" for number in range(50)]
    monkeypatch.setattr(LiveCard, "redraw_delay", lambda *_: 1.0)  # none is due for its running time
    manual_worker.add(*names, "other")
    shown = [show(queue, name, Page(), cards) for name in names]
    cards._update(shown)
    reads: list[Any] = []
    jobs, reader = queue.store.jobs, queue.store.reader
    get, revisions_of = jobs.get, reader.revisions_of
    monkeypatch.setattr(jobs, "get", lambda job_id: reads.append(job_id) or get(job_id))  # type: ignore[func-returns-value]
    monkeypatch.setattr(reader, "revisions_of", lambda ids: reads.append(len(ids)) or revisions_of(ids))  # type: ignore[func-returns-value]
    cards._update(shown)
    assert reads == []
    manual_worker.run("j0")
    queue.cancel("other")
    reads.clear()
    cards._update(shown)
    assert reads == [1, "j0"]
    reads.clear()
    queue.delete("other")
    queue.cancel("j1")
    cards._update(shown)
    assert reads == [50, "j1"]


def test_rate_of_many_running_cards(queue: Queue, manual_worker: ManualWorker, cards: LiveCardUpdater) -> None:
    """However many jobs run, their cards together are redrawn a limited number of times per second."""
    names = [f"j{number}" for number in range(3 * MAX_REDRAWS_PER_S)]
    manual_worker.add(*names)
    shown = []
    for name in names:
        manual_worker.claim(name)
        shown.append(show(queue, name, Page(), cards))
    cards._update(shown)
    delays = [card.redraw_delay(card.written_at, len(names) / MAX_REDRAWS_PER_S) for card in shown]
    assert min(delays) > 1
    for card in shown:
        card.written_at = 0
    cards._update(shown)
    assert sum(card.written_at > 0 for card in shown) == MAX_REDRAWS_PER_S


def test_one_thread(queue: Queue, manual_worker: ManualWorker) -> None:
    """All cards are updated by one thread, which ends when they are dropped; a new card starts another."""
    cards, pages = LiveCardUpdater(), [Page(), Page()]
    manual_worker.add("a", "b")
    for name, page in zip("ab", pages, strict=True):
        show(queue, name, page, cards)
    manual_worker.run("a")
    until(lambda: "completed" in pages[0].texts[-1])
    assert len([each for each in threading.enumerate() if each.name == "queuectl-live"]) == 1
    cards.drop(lambda card: card.job_id == "a")
    assert len(cards) == 1
    manual_worker.run("b")
    until(lambda: "completed" in pages[1].texts[-1])
    cards.stop()
    until(lambda: not [each for each in threading.enumerate() if each.name == "queuectl-live"])
    manual_worker.add("c")
    page = Page()
    show(queue, "c", page, cards)
    manual_worker.run("c")
    until(lambda: "completed" in page.texts[-1])
    cards.stop()


def test_failing_card(
    queue: Queue, manual_worker: ManualWorker, cards: LiveCardUpdater, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in one card is reported there; the others continue."""
    pages = [Page(), Page()]
    manual_worker.add("a", "b")
    shown = [show(queue, name, page, cards) for name, page in zip("ab", pages, strict=True)]
    write = pages[0].write

    def fail_once(html: str, text: str) -> None:
        monkeypatch.setattr(pages[0], "write", write)
        msg = "broken"
        raise ValueError(msg)

    monkeypatch.setattr(pages[0], "write", fail_once)
    manual_worker.run("a")
    manual_worker.run("b")
    cards._update(shown)
    assert pages[0].texts[-1] == "Job a: unknown, no longer updated (ValueError: broken)"
    assert "completed" in pages[1].texts[-1]


def test_refresh_while_a_card_is_written(queue: Queue, manual_worker: ManualWorker, cards: LiveCardUpdater) -> None:
    """A refresh, which ends a wait, returns when the cards are written, also if another thread writes one."""
    inside, proceed, done = threading.Event(), threading.Event(), []

    class SlowPage(Page):
        def write(self, html: str, text: str) -> None:
            if self.texts:
                inside.set()
                proceed.wait(60)
                done.append("written")
            super().write(html, text)

    def refresh() -> None:
        cards.refresh()
        done.append("refreshed")

    manual_worker.add("a")
    show(queue, "a", SlowPage(), cards)
    manual_worker.run("a")
    threads = [threading.Thread(target=cards.refresh), threading.Thread(target=refresh)]
    threads[0].start()
    assert inside.wait(60)
    threads[1].start()
    threads[1].join(0.2)  # it would return at once
    proceed.set()
    for thread in threads:
        thread.join(60)
    assert done == ["written", "refreshed"]


def test_stop(queue: Queue, manual_worker: ManualWorker, page: Page, cards: LiveCardUpdater) -> None:
    """After a stop nothing more is written."""
    manual_worker.add("a")
    show(queue, "a", page, cards)
    cards.stop()
    manual_worker.run("a")
    cards.refresh()
    assert len(page.texts) == 1
