"""The jobs of a filter as a live list: any window of a million of them, in an order that stands still while one reads.

At its beginning the list is live. Further down the order stands still, so that nobody loses the line that they read,
and what a row shows goes on changing. An order that takes long to find is found in a thread of its own.
"""

from __future__ import annotations

import threading
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuectl_nb.store.job_lists import JobOrder, QueryStopped
from queuectl_nb.store.reader import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.client.changes import ChangeWatcher, Version
    from queuectl_nb.model.job import JobRecord

__all__ = ["JobList", "Window"]

HEAD_ROWS = 500
"""Rows at the beginning that are read anew at each look: their order comes from an index."""
REORDER_COST_FACTOR = 8
"""An order is found anew after this many times the time that finding it took, if jobs have changed."""


@dataclass(frozen=True)
class Window:
    """A part of the list: the jobs from place ``first`` on, and how many there are in all.

    ``searching`` tells that the order asked for is still being found; then ``jobs`` and ``total`` may be None, not
    known yet. ``still`` is when (epoch seconds) an order that stands still was found, None while it is live.
    """

    total: int | None
    first: int
    jobs: Sequence[JobRecord] | None
    searching: bool
    frozen_at: float | None


class JobList:
    """One view's list. All methods are for one thread; what it starts itself is its own business."""

    def __init__(self, watch: ChangeWatcher, on_ready: Callable[[], object]) -> None:
        """List the jobs that ``watch`` watches; ``found()`` is called, from a thread, when an order was found."""
        self._watch = watch
        self._reader = watch.queue.store.reader
        self._ordering = JobOrder(watch.queue.store.db)
        self._on_ready = on_ready
        self._search: _Search | None = None
        self._order: _Order | None = None
        self.filter = Filter()
        self.outdated = False
        """Whether jobs have changed since the order was found, which is found anew when it is time: look again."""

    def set_filter(self, wanted: Filter) -> None:
        """Change what is listed, and in which order."""
        if wanted != self.filter:
            self.filter = wanted
            self._order = None
            self._cancel_search()

    def window(self, first: int, count: int, *, top: bool) -> Window:
        """Return the rows from ``first`` on; ``top`` tells that the reader is at the list's beginning.

        Raises what reading raises, and what the last search for an order met.
        """
        stamp = self._watch.version()
        self._collect_search()
        if self._plain:
            if top:
                self._order = None
                self.outdated = False
            if self._order is None and first + count <= HEAD_ROWS:
                return self._head(first, count, stamp, live=top)
        self._search_if_outdated(stamp, top=top)
        if self._order is None:
            total = self._reader.count(self.filter) if self._plain else None
            return Window(total, first, None, searching=True, frozen_at=None)
        return self._slice(first, count, live=top)

    @property
    def _plain(self) -> bool:
        """Whether the order is the index's own."""
        wanted = self.filter
        return not (wanted.sort or wanted.reverse or wanted.text or wanted.tag or wanted.queue)

    def _head(self, first: int, count: int, stamp: Version, *, live: bool) -> Window:
        head = Filter(state=self.filter.state, limit=HEAD_ROWS)
        jobs = self._reader.jobs(head if not live else Filter(state=self.filter.state, limit=first + count))
        total = self._reader.count(self.filter)
        if not live:
            self._order = _Order(array("q", [job.seq for job in jobs]), total, stamp, time.time(), 0.0)
        return Window(
            total, first, jobs[first : first + count], searching=False, frozen_at=None if live else time.time()
        )

    def _slice(self, first: int, count: int, *, live: bool) -> Window:
        order = self._order
        assert order is not None  # noqa: S101 - asked before
        places = order.places[first : first + count]
        jobs = self._ordering.jobs_at(places)
        searching = self._search is not None
        return Window(order.total, first, jobs, searching, None if live and not searching else order.found_at)

    # ------------------------------------------------------------------ orders that take long

    def _search_if_outdated(self, stamp: Version, *, top: bool) -> None:
        """Begin to find the order where there is none, where rows were removed, or where it is old enough."""
        order = self._order
        self.outdated = False
        if self._search is not None:
            return
        if order is not None and len(order.places) >= order.total:
            removed = stamp[1] != order.stamp[1]
            if stamp == order.stamp or not (top or removed):
                return
            if 0 <= time.time() - order.found_at < REORDER_COST_FACTOR * order.cost:
                self.outdated = True
                return
        self._search = _Search(self._ordering, self._watch, self.filter, self._on_ready)

    def _collect_search(self) -> None:
        search = self._search
        if search is None or not search.done.is_set():
            return
        self._search = None
        if search.error is not None:
            raise search.error
        if search.order is not None and search.wanted == self.filter:
            self._order = search.order

    def _cancel_search(self) -> None:
        if self._search is not None:
            self._search.stop.set()
            self._search = None

    def jobs_at(self, places: Sequence[int]) -> list[JobRecord]:
        """Return the jobs of these places (``seq``) as they are now; any thread may ask."""
        return self._ordering.jobs_at(places)

    def close(self) -> None:
        """End what is still being searched for, and forget the order; a list that is used again finds it anew."""
        self._cancel_search()
        self._order = None


@dataclass(frozen=True)
class _Order:
    """The places of all jobs, or of the first of ``total``; found at ``stamp``, in ``cost`` seconds."""

    places: array[int]
    total: int
    stamp: Version
    found_at: float
    cost: float


class _Search:
    """Finds an order in a thread of its own, on a connection of its own."""

    def __init__(
        self, ordering: JobOrder, watch: ChangeWatcher, wanted: Filter, on_ready: Callable[[], object]
    ) -> None:
        self.wanted = wanted
        self.stop = threading.Event()
        self.done = threading.Event()
        self.order: _Order | None = None
        self.error: Exception | None = None
        self._ordering = ordering
        self._watch = watch
        self._on_ready = on_ready
        threading.Thread(target=self._run, name="queuectl-search", daemon=True).start()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            stamp = self._watch.version()
            places = self._ordering.read_order(self.wanted, self.stop.is_set)
            self.order = _Order(places, len(places), stamp, time.time(), time.monotonic() - began)
        except QueryStopped:
            return
        except Exception as error:  # noqa: BLE001 - whoever looks next is told
            self.error = error
        finally:
            self._watch.close()
            self.done.set()
            if not self.stop.is_set():
                self._on_ready()
