"""A live, filtered list of jobs, read in windows.

At the top the list is live. Further down the order is frozen, so that rows do not move while they are read; the values
in the rows still change. Orders without an index are computed in a background thread.
"""

from __future__ import annotations

import threading
import time
from array import array
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuectl_nb.client.metrics import finished_values
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.job_lists import JobOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.client.changes import ChangeWatcher, Version
    from queuectl_nb.model.job import JobRecord

__all__ = ["JobList", "Window"]

HEAD_ROWS = 500
"""Rows at the top that are read again each time, since their order comes from an index."""
REORDER_COST_FACTOR = 8
"""A changed list is sorted again at most after this many times the duration of the last sort."""


@dataclass(frozen=True)
class Window:
    """A part of the list: the jobs from index ``first`` on, without ``after`` and ``result``, and the total number.

    While ``searching``, the order is still being computed, and ``jobs`` and ``total`` may be None. ``frozen_at`` is the
    time (epoch seconds) at which a frozen order was computed, None while the list is live.
    """

    total: int | None
    first: int
    jobs: Sequence[JobRecord] | None
    searching: bool
    frozen_at: float | None


class JobList:
    """The list of one view; use it from one thread."""

    def __init__(self, watch: ChangeWatcher, on_ready: Callable[[], object]) -> None:
        """List the jobs of ``watch``; ``on_ready()`` is called from another thread when an order was computed."""
        self._watch = watch
        self._reader = watch.queue.store.reader
        self._ordering = JobOrder(watch.queue.store.db)
        self._on_ready = on_ready
        self._search: _Search | None = None
        self._order: _Order | None = None
        self.filter = Filter()
        self.outdated = False
        """Whether the order is outdated and not yet due to be computed again; the caller should ask again later."""

    def set_filter(self, job_filter: Filter) -> None:
        """Change filter and order."""
        if job_filter != self.filter:
            self.filter = job_filter
            self._order = None
            self._cancel_search()

    def window(self, first: int, count: int, *, top: bool) -> Window:
        """Return ``count`` rows from ``first`` on; ``top`` means that the view shows the top of the list.

        Also raises the error of the last background search.
        """
        version = self._watch.version()
        self._collect_search()
        if self._plain:
            if top:
                self._order = None
                self.outdated = False
            if self._order is None and first + count <= HEAD_ROWS:
                return self._head(first, count, version, live=top)
        self._search_if_outdated(version, top=top)
        if self._order is None:
            total = self._reader.count(self.filter) if self._plain else None
            return Window(total, first, None, searching=True, frozen_at=None)
        return self._slice(first, count, live=top)

    @property
    def _plain(self) -> bool:
        """Whether the order comes from an index."""
        return self.filter == Filter(state=self.filter.state)

    def _head(self, first: int, count: int, version: Version, *, live: bool) -> Window:
        head = Filter(state=self.filter.state, limit=HEAD_ROWS)
        wanted = head if not live else Filter(state=self.filter.state, limit=first + count)
        jobs = self._reader.jobs(wanted, short=True)
        total = self._reader.count(self.filter)
        if not live:
            self._order = _Order(array("q", [job.seq for job in jobs]), total, version, time.time(), 0.0)
        return Window(
            total, first, jobs[first : first + count], searching=False, frozen_at=None if live else time.time()
        )

    def _slice(self, first: int, count: int, *, live: bool) -> Window:
        order = self._order
        assert order is not None  # asked before
        seqs = order.seqs[first : first + count]
        jobs = self._ordering.jobs_at(seqs)
        searching = self._search is not None
        return Window(order.total, first, jobs, searching, None if live and not searching else order.found_at)

    # ------------------------------------------------------------------ orders that take long

    def _search_if_outdated(self, version: Version, *, top: bool) -> None:
        """Start a search if there is no order, rows were deleted, or the order is old enough."""
        order = self._order
        self.outdated = False
        if self._search is not None:
            return
        if order is not None and len(order.seqs) >= order.total:
            removed = version[1] != order.version[1]
            if version == order.version or not (top or removed):
                return
            if 0 <= time.time() - order.found_at < REORDER_COST_FACTOR * order.cost:
                self.outdated = True
                return
        self._search = _Search(self.filter)
        threading.Thread(target=self._run_search, args=(self._search,), name="queuectl-search", daemon=True).start()

    def _collect_search(self) -> None:
        search = self._search
        if search is not None and search.order.done():
            self._search = None
            self._order = search.order.result()  # raises the error of the search

    def _run_search(self, search: _Search) -> None:
        """Compute an order; runs in a thread."""
        start = time.monotonic()
        try:
            version = self._watch.version()
            seqs = self._ordering.read_order(search.wanted, search.stop.is_set)
            search.order.set_result(_Order(seqs, len(seqs), version, time.time(), time.monotonic() - start))
        except Exception as error:  # noqa: BLE001 - raised by the next call of window
            search.order.set_exception(error)
        finally:
            self._watch.close()
            if not search.stop.is_set():
                self._on_ready()

    def _cancel_search(self) -> None:
        if self._search is not None:
            self._search.stop.set()
            self._search = None

    def jobs_at(self, seqs: Sequence[int]) -> list[JobRecord]:
        """Return the current jobs with these ``seq`` values; thread-safe."""
        return self._ordering.jobs_at(seqs)

    def metric_values(self, jobs: Sequence[JobRecord]) -> dict[int, Sequence[float]]:
        """Return values of the first metric of finished jobs, by ``seq``."""
        return finished_values(self._watch.queue.store, jobs)

    def close(self) -> None:
        """Cancel the search and discard the order; the list may be used again."""
        self._cancel_search()
        self._order = None


@dataclass(frozen=True)
class _Order:
    """The ``seq`` values of all jobs, or of the first of ``total``, computed in ``cost`` seconds for one version."""

    seqs: array[int]
    total: int
    version: Version
    found_at: float
    cost: float


@dataclass(frozen=True)
class _Search:
    """The computation of an order in a background thread."""

    wanted: Filter
    stop: threading.Event = field(default_factory=threading.Event)
    order: Future[_Order] = field(default_factory=Future)
