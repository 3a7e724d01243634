"""The live card of a batch: it reads only what has changed, and is written at most once a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from IPython.lib.pretty import pretty

from queuectl_nb.client import batch_card, display_hook
from queuectl_nb.client.batch_card import BatchCard
from queuectl_nb.client.live_cards import LiveCardUpdater, card_updater
from queuectl_nb.model.outcome import Exited
from tests.engine.harness import until

if TYPE_CHECKING:
    import pytest

    from queuectl_nb.client import Queue
    from queuectl_nb.client.batch import Batch
    from tests.client.conftest import Page
    from tests.commands.manual_worker import ManualWorker


def show(batch: Batch, page: Page, cards: LiveCardUpdater) -> BatchCard:
    """Display a batch."""
    card = BatchCard(batch, page, request=None, cell_id=None)
    page.write(*card.render())
    cards.add(card)
    return card


def enqueue(queue: Queue, ids: str) -> Batch:
    """Enqueue a batch with these ids."""
    return queue.enqueue_many([{"command": "true", "id": name} for name in ids], max_retries=1)


def test_follows(queue: Queue, manual_worker: ManualWorker, page: Page, cards: LiveCardUpdater) -> None:
    """It counts changed jobs, names running ones and failures, also after a retry; other jobs do not matter."""
    card = show(enqueue(queue, "abc"), page, cards)
    assert "0 of 3 finished: 3 pending" in page.texts[0]
    assert "no workers" in page.texts[0]
    manual_worker.run("a", Exited(3))
    lease = manual_worker.claim("b")
    queue.store.spool.path(lease.token, "stderr").write_text("\r 45%|####<script>\r")
    cards.refresh()
    assert "1 of 3 finished: 1 dead, 1 processing, 1 pending" in page.texts[-1]
    assert "b  45%" in page.texts[-1]
    assert "1 exit" in page.texts[-1]
    assert "<script>" not in page.htmls[-1]
    written = len(page.texts)
    queue.enqueue("true", id="other")
    assert card.redraw_delay(time.monotonic(), 0) > 0
    queue.retry("a")
    cards.refresh()
    assert (len(page.texts), "1 processing, 2 pending" in page.texts[-1]) == (written + 1, True)
    queue.cancel("a", "c")
    queue.delete("c")
    cards.refresh()
    assert "Batch of 3 jobs: running, 1 deleted" in page.texts[-1]


def test_finished(queue: Queue, manual_worker: ManualWorker, page: Page, cards: LiveCardUpdater) -> None:
    """A finished batch costs nothing until one of its jobs is retried."""
    card = show(enqueue(queue, "a"), page, cards)
    manual_worker.run("a", Exited(1))
    cards.refresh()
    assert not card.running
    queue.retry("a")
    cards._update([card])
    assert card.running
    cards.refresh()
    assert "1 pending" in page.texts[-1]


def test_rate(queue: Queue, page: Page, cards: LiveCardUpdater, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are written only after the minimum time since the last write."""
    monkeypatch.setattr(batch_card, "REDRAW_S", 600.0)
    card = show(enqueue(queue, "abcdef"), page, cards)
    for name in "abcde":
        queue.cancel(name)
        cards._update([card])
    assert len(page.texts) == 1
    card.written_at -= batch_card.REDRAW_S
    cards._update([card])
    assert "5 of 6 finished" in page.texts[-1]


def test_rows_read(queue: Queue, page: Page, cards: LiveCardUpdater, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update of a large batch reads the changed jobs, not all."""
    batch = queue.enqueue_many([{"command": "true"}] * 2000)
    show(batch, page, cards)

    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(type(queue.store.reader), "states_of", fail)
    queue.cancel(batch.ids[0])
    cards.refresh()
    assert "1 of 2,000 finished" in page.texts[-1]


def test_gone(queue: Queue, page: Page, cards: LiveCardUpdater) -> None:
    """Without its queue, a card says so and ends; the batch has its short text then."""
    batch = enqueue(queue, "ab")
    card = show(batch, page, cards)
    queue.path.unlink()
    cards.refresh()
    assert card.ended
    assert "deleted or replaced" in page.texts[-1]
    assert pretty(batch) == "<Batch of 2 jobs: a, b>"


def test_buttons(queue: Queue, manual_worker: ManualWorker, page: Page, cards: LiveCardUpdater) -> None:
    """A press retries or cancels and shows how many; one for a card that is not live is refused.

    A page that was loaded again gets the cards that it names.
    """
    batch = enqueue(queue, "abc")
    manual_worker.run("a", Exited(3))
    manual_worker.run("b", Exited(4))
    key = next(str(each) for each, job in batch.errors()["example"].items() if job == "a")
    card = show(batch, page, cards)
    card_updater._cards[page.display_id] = card
    closed: list[dict[str, bool]] = []

    class Comm:
        """Records the answer."""

        def close(self, data: dict[str, bool]) -> None:
            """Record it."""
            closed.append(data)

    def press(action: str, error: str = "", name: str = page.display_id) -> None:
        data = {"card": name, "action": action, "error": error}
        display_hook._press(Comm(), {"content": {"data": data}})

    try:
        press("retry", key)
        until(lambda: "1 retried" in page.texts[-1])
        assert "1 of 3 finished" in page.texts[-1]
        press("cancel")
        until(lambda: "2 cancelled" in page.texts[-1])
        press("retry")
        until(lambda: "3 retried" in page.texts[-1])
        press("retry", name="unknown")
        press("delete")
        assert [each["accepted"] for each in closed] == [True, True, True, False, False]
        page.texts.clear()
        display_hook._press(Comm(), {"content": {"data": {"shown": ["unknown", page.display_id]}}})
        assert [text.splitlines()[0] for text in page.texts] == ["Batch of 3 jobs: waiting, 3 retried"]
    finally:
        card_updater.drop(lambda each: each is card)


def test_texts(queue: Queue) -> None:
    """A batch or jobs in a container are short; alone, a batch is its card."""
    batch = enqueue(queue, "abcd")
    assert pretty([batch]) == "[<Batch of 4 jobs: a, …, d>]"
    assert pretty(list(batch)[:1]) == "[<Job a: pending, 'true'>]"
    assert pretty(batch).startswith("Batch of 4 jobs: waiting")
    frame = [{"lr": 1}, {"lr": 2}]
    queue.enqueue_many("true {lr}", frame[:1], resume=True)
    assert pretty(queue.enqueue_many("true {lr}", frame, resume=True)).startswith(
        "Batch of 2 jobs: waiting, 1 kept, 1 enqueued"
    )
    assert pretty(queue.batch(tag="none")) == "Batch of 0 jobs: no jobs"
