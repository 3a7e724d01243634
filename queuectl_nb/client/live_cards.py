"""Cards of jobs that a background thread updates until the jobs finish.

The database is polled up to four times a second, and less often the longer a job does not change.
"""

from __future__ import annotations

import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING

from queuectl_nb.client.logs import Logs
from queuectl_nb.model.errors import NotFound, QueuectlError
from queuectl_nb.model.state import State
from queuectl_nb.render.cards import RunStatus, job_card
from queuectl_nb.render.progress import TAIL_BYTES, read_progress

if TYPE_CHECKING:
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.render.output_cell import OutputCell
    from queuectl_nb.store.store import Store

__all__ = ["LiveCard", "LiveCardUpdater", "card_updater", "poll_delay", "read_live"]

MIN_POLL_S, MAX_POLL_S = 0.25, 2.0
"""Minimum and maximum interval between two polls."""
MAX_REDRAW_S = 10.0
"""Maximum interval between two updates if only time and output have changed."""
IDLE_DIVISOR = 60.0
"""The interval is the time since the last change, divided by this."""


def poll_delay(since: float, maximum: float) -> float:
    """Return the seconds until the next poll if the last change was ``since`` seconds ago.

    >>> poll_delay(0, 2), poll_delay(60, 2), poll_delay(86400, 2)
    (0.25, 1.0, 2)
    """
    return min(maximum, max(MIN_POLL_S, since / IDLE_DIVISOR))


def read_live(store: Store, record: JobRecord, history: list[AttemptRecord]) -> RunStatus | None:
    """Return run time and last output of a running job; None if it is not running."""
    attempt = history[-1] if history else None
    if record.state is not State.PROCESSING or attempt is None or attempt.outcome is not None:
        return None
    return RunStatus(time.time() - attempt.started_at, read_progress(Logs(store).read_last_bytes(attempt, TAIL_BYTES)))


class LiveCard:
    """The card of one job in one output."""

    def __init__(self, queue: Queue, job_id: str, cell: OutputCell) -> None:
        """Show the job ``job_id`` of ``queue`` in ``place``."""
        self.queue = queue
        self.job_id = job_id
        self.due = 0.0
        self.finished = False
        self._cell = cell
        self._lock = threading.Lock()
        self._version: tuple[int, ...] | None = None
        self._shown = ""
        self._changed_at = self._written_at = 0.0
        self._record: JobRecord | None = None
        self._history: list[AttemptRecord] = []

    def update(self, *, now: bool = False) -> None:
        """Poll, write what has changed, and schedule the next poll; ``now`` writes pending changes at once."""
        with self._lock:
            if self.finished:
                return
            try:
                self._update(now=now)
            except NotFound:
                self._finish(f"<Job {self.job_id}: removed>")
            except QueuectlError as error:  # the file was deleted or cannot be read
                self._finish(f"<Job {self.job_id}: {error}>")
            except Exception as error:  # noqa: BLE001 - a bug ends only this card
                self._finish(f"<Job {self.job_id}: no longer updated ({type(error).__name__}: {error})>")

    def _update(self, *, now: bool) -> None:
        clock = time.monotonic()
        moved = self._read()
        if moved:
            self._changed_at = clock
        assert self._record is not None  # noqa: S101 - read
        since = clock - self._changed_at
        if moved or now or clock - self._written_at >= poll_delay(since, MAX_REDRAW_S):
            live = read_live(self.queue.store, self._record, self._history)
            self._write(*job_card(self._record, self._history, live))
            self._written_at = clock
        self.finished = self._record.is_finished
        self.due = clock + poll_delay(since, MAX_POLL_S)

    def _read(self) -> bool:
        """Read the job if anything was committed; return True if it has changed."""
        # the version belongs to the connection, and so to the thread
        changes = (threading.get_ident(), *self.queue.store.db.change_counters())
        if changes == self._version:
            return False
        self._version = changes
        record = self.queue.store.jobs.get(self.job_id)
        if self._record is not None and record.rev == self._record.rev:
            return False
        self._record, self._history = record, self.queue.store.reader.attempts_without_output(self.job_id)
        return True

    def _write(self, html: str, text: str) -> None:
        if html != self._shown:
            self._cell.write(html, text)
            self._shown = html

    def _finish(self, text: str) -> None:
        self.finished = True
        self._cell.write("", text)


class LiveCardUpdater:
    """The live cards of this process, and the thread that updates them while there are any."""

    def __init__(self) -> None:
        self._cards: list[LiveCard] = []
        self._lock = threading.Lock()
        self._wakeup = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, card: LiveCard) -> None:
        """Show a card and keep updating it."""
        card.update()
        if card.finished:
            return
        with self._lock:
            self._cards.append(card)
            if self._thread is None or not self._thread.is_alive():
                # a new context, so that messages have the running cell as their parent, as nbclient expects
                run = Context().run
                self._thread = threading.Thread(target=run, args=(self._run,), name="queuectl-live", daemon=True)
                self._thread.start()
        self._wakeup.set()

    def refresh(self) -> None:
        """Update all cards now, in the calling thread; called after a wait."""
        for card in self._active_cards():
            card.update(now=True)

    def stop(self) -> None:
        """Stop updating all cards; they keep their content."""
        with self._lock:
            self._cards.clear()
        self._wakeup.set()

    def __len__(self) -> int:
        """Return the number of cards that are being updated."""
        return len(self._active_cards())

    def _active_cards(self) -> list[LiveCard]:
        with self._lock:
            self._cards = [card for card in self._cards if not card.finished]
            return list(self._cards)

    def _run(self) -> None:
        """Update each card when it is due; return when there are none left."""
        queues: dict[int, Queue] = {}
        try:
            while True:
                with self._lock:
                    self._cards = [card for card in self._cards if not card.finished]
                    if not self._cards:
                        self._thread = None
                        return
                    known = list(self._cards)
                for card in known:
                    queues[id(card.queue)] = card.queue
                    if card.due <= time.monotonic():
                        card.update()
                self._wakeup.wait(max(0.0, min(card.due for card in known) - time.monotonic()))
                self._wakeup.clear()
        finally:
            for queue in queues.values():
                queue.close()


card_updater = LiveCardUpdater()
"""The cards of this process."""
