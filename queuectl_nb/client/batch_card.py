"""The live card of a batch: it keeps the states of its jobs and reads only what has changed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

from queuectl_nb.client.hints import MAGIC, job_hints
from queuectl_nb.client.live_cards import MAX_REDRAW_S, LiveCard, poll_delay
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.model.state import UNFINISHED_STATES, State
from queuectl_nb.render.batch_card import MAX_SHOWN, BatchView, RunningRow, batch_card

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuectl_nb.client.batch import Batch
    from queuectl_nb.client.changes import Version
    from queuectl_nb.render.card_parts import Rendering
    from queuectl_nb.render.output_cell import OutputCell
    from queuectl_nb.store.error_groups import FailedJobs

__all__ = ["BatchCard", "BatchReader"]

REDRAW_S = 1.0
"""Minimum interval between two updates of a batch."""
COST_FACTOR = 20.0
"""A slow read is repeated after this many times its duration at the earliest."""
NOTE_S = 10.0
"""How long the result of a button is shown."""
FAILED = (State.FAILED, State.DEAD)

T = TypeVar("T")


class _Throttled(Generic[T]):
    """A value that is slow to read."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._value: T | None = None
        self._due_at = 0.0

    def get(self, *, now: bool) -> tuple[T, bool]:
        """Return the value, read again if it is time or ``now``, and whether it was."""
        start = time.monotonic()
        if self._value is not None and start < self._due_at and not now:
            return self._value, False
        self._value = self._read()
        end = time.monotonic()
        self._due_at = end + COST_FACTOR * (end - start)
        return self._value, True


class BatchReader:
    """Reads what the card of a batch shows: the states of all jobs once, then those of changed jobs."""

    def __init__(self, batch: Batch) -> None:
        """Read nothing yet."""
        self.batch = batch
        self._store = batch._queue.store  # noqa: SLF001 - of this package
        self._states: dict[str, State] | None = None
        self._slots: list[str] = []
        self._rows = 0
        self._groups = _Throttled(self._read_groups)
        self._eta = _Throttled(self._read_eta)
        self.complete = True
        """The last view had the current groups and time left."""

    @property
    def unread(self) -> bool:
        """Whether the states must be read again."""
        return self._states is None

    def forget(self) -> None:
        """Read all states again next time: jobs were deleted, or this process has changed many."""
        self._states = None

    def apply(self, written: Mapping[str, State]) -> bool:
        """Record the states of changed jobs of the queue; return True if some are in the batch."""
        states = self._states or {}
        found = {job_id: state for job_id, state in written.items() if job_id in states}
        states.update(found)
        return bool(found)

    def view(self) -> BatchView:
        """Return what the card shows now."""
        store = self._store
        ids = dict.fromkeys(self.batch.ids)
        if self._states is None:
            found = store.reader.states_of(list(ids))
            self._states = {job_id: found[job_id] for job_id in ids if job_id in found}  # in the order of the batch
        counts = Counter(self._states.values())
        finished = not any(counts[state] for state in UNFINISHED_STATES)
        fresh = True
        groups: list[FailedJobs] = []
        if any(counts[state] for state in FAILED):
            groups, fresh = self._groups.get(now=finished)
        eta, fresh_eta = ("", True) if finished else self._eta.get(now=False)
        self.complete = fresh and fresh_eta
        running = self._running() if counts[State.PROCESSING] else []
        hints = [] if running or finished else self._hints()
        more = counts[State.PROCESSING] > len(running)
        self._rows = 0 if finished else max(self._rows, len(running) + more)
        return BatchView(
            counts=counts,
            removed=len(ids) - len(self._states),
            eta="" if hints else eta,
            hints=hints,
            running=running,
            rows=self._rows,
            groups=groups,
        )

    def _ids(self, *wanted: State) -> list[str]:
        return [job_id for job_id, state in (self._states or {}).items() if state in wanted]

    def _running(self) -> list[RunningRow]:
        """Return the first running jobs; each keeps its row while it runs."""
        from queuectl_nb.client.job_card import read_live
        from queuectl_nb.store.job_filter import Filter
        from queuectl_nb.store.metrics import add_live

        running = dict.fromkeys(self._ids(State.PROCESSING))
        others = iter([each for each in running if each not in self._slots])
        kept = [each if each in running else next(others, None) for each in self._slots]
        self._slots = [each for each in [*kept, *others] if each is not None][:MAX_SHOWN]
        store = self._store
        records = {each.id: each for each in store.reader.jobs(Filter(ids=tuple(self._slots)), short=True)}
        found = []
        for job in add_live(store.db, [records[each] for each in self._slots if each in records]):
            live = read_live(store, job, store.reader.attempts_without_output(job.id))
            if live is not None:  # it may have ended since
                metrics, output = job.metrics or {}, live.output
                found.append(RunningRow(job.id, job.command, live.elapsed_s, output.fraction, metrics, output.line))
        return found

    def _hints(self) -> list[str]:
        """Return why the first waiting job does not start."""
        waiting = self._ids(State.PENDING, State.FAILED, State.BLOCKED)[:1]
        store = self._store
        return [hint for each in waiting for hint in job_hints(store, store.jobs.get(each), MAGIC)]

    def _read_groups(self) -> list[FailedJobs]:
        from queuectl_nb.store.error_groups import read_error_groups
        from queuectl_nb.store.job_filter import Filter

        return read_error_groups(self._store.db, Filter(ids=tuple(self._ids(*FAILED))))

    def _read_eta(self) -> str:
        return str(self.batch.eta())


class BatchCard(LiveCard):
    """The card of a batch in one output, with buttons."""

    ACTIONS = ("retry", "cancel")

    def __init__(self, batch: Batch, cell: OutputCell, *, request: str | None, cell_id: str | None) -> None:
        """Show ``batch`` in ``cell``."""
        super().__init__(batch._queue, "", cell, request=request, cell_id=cell_id)  # noqa: SLF001 - of this package
        self.owner = self._batch = batch
        self.title = f"Batch of {len(batch):,} jobs"
        self._reader = BatchReader(batch)
        self._stale = True
        self._note, self._note_until = "", 0.0

    def take_changes(self, version: Version, written: Mapping[str, State] | None) -> None:
        """Record changed states; the card is written when it is due."""
        with self._lock:
            known, self.version = self.version, version
            if known is None or written is None:
                self._reader.forget()
                changed = True
            else:
                changed = self._reader.apply(written)
            if changed:
                self._stale = self.running = True
                self.changed_at = time.monotonic()

    def _read(self) -> Rendering:
        if self._reader.unread:
            self.version = self.queue.store.db.revision()  # before the states
        view = self._reader.view()
        self.written_at = time.monotonic()
        self.changed_at = self.changed_at or self.written_at
        self._stale = not self._reader.complete
        note = self._note if self.written_at < self._note_until else ""
        self.running = self._stale or bool(note) or bool(view.count(UNFINISHED_STATES))
        facts = [*self._batch._facts(), *([note] if note else [])]  # noqa: SLF001 - of this package
        return batch_card(view._replace(facts=facts), card_id=self.cell.display_id)

    def redraw_delay(self, clock: float, minimum: float) -> float:
        """Return the seconds until the card is due: a second after the last time if jobs have changed."""
        wait = REDRAW_S if self._stale else max(REDRAW_S, poll_delay(clock - self.changed_at, MAX_REDRAW_S))
        return self.written_at + max(minimum, wait) - clock

    def act(self, action: str, error: str | None = None) -> None:
        """Retry or cancel jobs in a thread of its own; the card shows how many, or the error."""
        threading.Thread(target=self._act, args=(action, error), name="queuectl-batch", daemon=True).start()

    def _act(self, action: str, error: str | None) -> None:
        try:
            if action == "retry":
                text = f"{len(self._batch.retry(error=error)):,} retried"
            else:
                self._show_note("cancelling …")
                text = f"{len(self._batch.cancel()):,} cancelled"
        except QueuectlError as problem:
            text = str(problem)
        try:
            self._show_note(text)
        finally:
            self.queue.close()  # the connection of this thread

    def _show_note(self, text: str) -> None:
        with self._lock:
            self._note, self._note_until = text, time.monotonic() + NOTE_S
            self.changed_at = time.monotonic()
            self.running = True
            self._reader.forget()
        self.update()
