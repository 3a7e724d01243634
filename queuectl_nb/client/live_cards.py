"""Cards of jobs that a background thread updates, also when a finished job is retried.

The database is checked up to four times a second, and less often the longer nothing changes: one check per queue, and
if something was written, a query for the jobs that have changed.
"""

from __future__ import annotations

import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING, Union

from queuectl_nb.client.job_card import read_card
from queuectl_nb.model.errors import Busy, NotFound, QueuectlError
from queuectl_nb.model.state import State
from queuectl_nb.render import card_parts
from queuectl_nb.render.output_cell import mark_live

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from queuectl_nb.client.batch import Batch
    from queuectl_nb.client.changes import Version
    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue_data import QueueData
    from queuectl_nb.render.card_parts import Rendering
    from queuectl_nb.render.output_cell import OutputCell

__all__ = ["LiveCard", "LiveCardUpdater", "PoolCard", "card_updater", "owner_key", "poll_delay"]

MIN_POLL_S, MAX_POLL_S = 0.25, 2.0
"""Minimum and maximum interval between two checks."""
MAX_REDRAW_S = 10.0
"""Maximum interval between two updates if only time and output have changed."""
POOL_REDRAW_S = 1.0
"""Interval between two updates of a pool."""
MAX_REDRAWS_PER_S = 10
"""Maximum number of such updates of all cards together."""
IDLE_DIVISOR = 60.0
"""The interval is the time since the last change, divided by this."""
Owner = Union["QueueData", "WorkerPool", "Batch"]


def poll_delay(since: float, maximum: float) -> float:
    """Return the seconds until the next check if the last change was ``since`` seconds ago.

    >>> poll_delay(0, 2), poll_delay(60, 2), poll_delay(86400, 2)
    (0.25, 1.0, 2)
    """
    return min(maximum, max(MIN_POLL_S, since / IDLE_DIVISOR))


def owner_key(owner: Owner) -> str:
    """Return a text that identifies a pool or batch of this process, or the file of a queue."""
    if hasattr(owner, "pid"):
        return f"pool {owner.pid}"
    return str(owner.path) if hasattr(owner, "path") else f"batch {id(owner)}"


class LiveCard:
    """The card of one job in one output."""

    def __init__(
        self, queue: QueueData, job_id: str, cell: OutputCell, *, request: str | None = None, cell_id: str | None = None
    ) -> None:
        """Show the job ``job_id`` of ``queue`` in ``cell``, an output of a request to run the cell ``cell_id``."""
        self.owner: Owner = queue
        self.queue = queue
        self.job_id = job_id
        self.title = f"Job {job_id}"
        self.cell = cell
        self.request = request
        self.cell_id = cell_id
        self.ended = False
        """The job or its queue is gone: there will be no further update."""
        self.running = False
        self.version: Version | None = None
        """Version of the queue at which the card was last compared with its job."""
        self.changed_at = self.written_at = 0.0
        self.rev = -1
        self._shown: Rendering | None = None
        self._lock = threading.Lock()

    def render(self) -> Rendering:
        """Read the job and return its card."""
        with self._lock:
            return self._marked(self._render())

    def update(self) -> None:
        """Read the job, and write its card if that has changed."""
        with self._lock:
            shown, new = self._shown, self._render()
            if new == shown:
                return
            try:
                self.cell.write(*self._marked(new))
            except Exception as error:  # noqa: BLE001 - a bug ends only this card
                self.cell.write(*self._end("unknown", [_describe(error)]))

    def write_again(self) -> None:
        """Write the card as it was written last, with or without the style sheet."""
        with self._lock:
            if self._shown is not None:
                self.cell.write(*self._marked(self._shown))

    def end(self, why: str) -> None:
        """Write why the card ends."""
        with self._lock:
            self.cell.write(*self._end("unknown", [why]))

    def _marked(self, card: Rendering) -> Rendering:
        return mark_live(card, self.cell.display_id, live=self.running)

    def _render(self) -> Rendering:
        try:
            self._shown = self._read()
        except NotFound:
            self._shown = self._end("removed", [])
        except Exception as error:  # noqa: BLE001 - a bug ends only this card
            self._shown = self._end("unknown", [_describe(error)])
        return self._shown

    def _read(self) -> Rendering:
        record = self.queue.store.jobs.get(self.job_id)
        clock = time.monotonic()
        if record.rev != self.rev:
            self.rev, self.changed_at = record.rev, clock
        self.written_at = clock
        # a waiting job's hint changes with workers and pauses, not with the job
        self.running = not record.is_finished
        return read_card(self.queue.store, record)

    def _end(self, state: str, facts: list[str]) -> Rendering:
        self.ended, self.running = True, False
        return card_parts.card(self.title, state, facts)

    def take_changes(self, version: Version, written: Mapping[str, State] | None) -> None:
        """Record that the card was compared with its queue, and what was ``written`` since; None: not known."""
        self.version = version

    def redraw_delay(self, clock: float, minimum: float) -> float:
        """Return the seconds until the card of a running job is due, at least ``minimum`` after the last time."""
        return self.written_at + max(minimum, poll_delay(clock - self.changed_at, MAX_REDRAW_S)) - clock


class PoolCard(LiveCard):
    """The card of a worker pool, until that has ended."""

    def __init__(self, pool: WorkerPool, cell: OutputCell, *, request: str | None, cell_id: str | None) -> None:
        """Show ``pool`` in ``cell``."""
        super().__init__(pool._queue, "", cell, request=request, cell_id=cell_id)  # noqa: SLF001 - of this package
        self.owner = self._pool = pool
        self.title = f"Pool {pool.pid}"

    def _read(self) -> Rendering:
        self.running = self._pool.alive
        self.written_at = time.monotonic()
        return self._pool._read_card()  # noqa: SLF001 - of this package

    def redraw_delay(self, clock: float, minimum: float) -> float:
        """Return the seconds until the card is due."""
        return self.written_at + max(minimum, POOL_REDRAW_S) - clock


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, QueuectlError) else f"no longer updated ({type(error).__name__}: {error})"


class LiveCardUpdater:
    """The live cards of this process, and the thread that updates them while there are any."""

    def __init__(self) -> None:
        self._cards: dict[str, LiveCard] = {}
        self._lock = threading.Lock()
        self._updating = threading.Lock()
        """Held from a comparison of cards with their jobs until those that differ are written."""
        self._wakeup = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, card: LiveCard) -> None:
        """Keep updating a card that has been written; it replaces another one in the same output."""
        with self._lock:
            self._cards[card.cell.display_id] = card
            if self._thread is None or not self._thread.is_alive():
                # a new context, so that messages have the running cell as their parent, as nbclient expects
                run = Context().run
                self._thread = threading.Thread(target=run, args=(self._run,), name="queuectl-live", daemon=True)
                self._thread.start()
        self._wakeup.set()

    def find(self, owner: Owner, name: str, request: str | None, kinds: Collection[str]) -> LiveCard | None:
        """Return the card that shows this pool or batch, or this job of a queue, in the output of this request."""
        sought = (owner_key(owner), name, request, kinds)
        for card in self._list():
            if (owner_key(card.owner), card.job_id, card.request, card.cell.kinds) == sought:
                return card
        return None

    def get(self, display_id: str | None) -> LiveCard | None:
        """Return the card of an output; None if it is not updated."""
        return self._cards.get(display_id or "")

    def latest(self) -> LiveCard | None:
        """Return the card that was displayed last, of those with HTML."""
        return next((card for card in reversed(self._list()) if "text/html" in card.cell.kinds), None)

    def drop(self, gone: Callable[[LiveCard], bool]) -> None:
        """Stop updating the cards for which ``gone`` returns True; they keep their content."""
        with self._lock:
            self._cards = {name: card for name, card in self._cards.items() if not gone(card)}
        self._wakeup.set()

    def refresh(self) -> None:
        """Update all cards of changed or running jobs now, in the calling thread; called after a wait."""
        self._update(self._list(), running=True)

    def stop(self) -> None:
        """Stop updating all cards; they keep their content."""
        self.drop(lambda _: True)

    def __len__(self) -> int:
        """Return the number of cards that are being updated."""
        return len(self._list())

    def _list(self) -> list[LiveCard]:
        with self._lock:
            self._cards = {name: card for name, card in self._cards.items() if not card.ended}
            return list(self._cards.values())

    def _run(self) -> None:
        """Update cards when they are due; return when there are none left."""
        queues: dict[int, QueueData] = {}
        try:
            while cards := self._list_or_end():
                queues |= {id(card.queue): card.queue for card in cards}
                self._update(cards)
                self._wakeup.wait(self._delay(cards))
                self._wakeup.clear()
        finally:
            for queue in queues.values():
                queue.close()

    def _list_or_end(self) -> list[LiveCard]:
        cards = self._list()
        with self._lock:
            if not self._cards:
                self._thread = None
                return []
        return cards or self._list_or_end()

    @staticmethod
    def _delay(cards: Iterable[LiveCard]) -> float:
        return poll_delay(time.monotonic() - max(card.changed_at for card in cards), MAX_POLL_S)

    def _update(self, cards: Collection[LiveCard], *, running: bool = False) -> None:
        """Write the cards of changed jobs, and those of running jobs that are due or, with ``running``, all of them.

        While another thread does that, wait for it: on return, the cards are those of now.
        """
        with self._updating:
            queues = {id(card.queue): card.queue for card in cards}
            changed: list[LiveCard] = []
            for key, queue in queues.items():
                changed += _changed(queue, [card for card in cards if id(card.queue) == key])
            clock = time.monotonic()
            due = [card for card in set(cards).difference(changed) if card.running]
            minimum = len(due) / MAX_REDRAWS_PER_S
            due = [card for card in due if running or card.redraw_delay(clock, minimum) <= 0]
            due.sort(key=lambda card: card.written_at)
            for card in changed + (due if running else due[:MAX_REDRAWS_PER_S]):
                card.update()


def _changed(queue: QueueData, cards: list[LiveCard]) -> list[LiveCard]:
    """Return the cards whose job was written since they were last compared; end all if the queue cannot be read."""
    reader = queue.store.reader
    try:
        version = queue.store.db.revision()
        stale = [card for card in cards if card.version != version]
        compared = min((card.version for card in stale if card.version), default=None)
        written = None
        if compared is not None and compared[1] == version[1]:  # no job was deleted
            written = dict(reader.changed_since(list(State), compared[0]))
        suspects = [card for card in stale if written is None or card.version is None or card.job_id in written]
        revisions = reader.revisions_of([card.job_id for card in suspects]) if suspects else {}
    except Busy:
        return []
    except Exception as error:  # noqa: BLE001 - the file was deleted or cannot be read, or a bug
        for card in cards:
            card.end(_describe(error))
        return []
    for card in stale:
        card.take_changes(version, written)
    return [card for card in suspects if card.job_id and revisions.get(card.job_id) != card.rev]


card_updater = LiveCardUpdater()
"""The cards of this process."""
