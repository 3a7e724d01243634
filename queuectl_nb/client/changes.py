"""Detect changes of a queue and read the overview that live views show.

Used by the notebook widget and the web page. Any number of threads may call it; each has its own connection.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.eta import read_eta
from queuectl_nb.client.hints import CONSOLE, waiting_hints
from queuectl_nb.client.workers import status_with
from queuectl_nb.store.attempt_history import count_outcomes
from queuectl_nb.store.limits import read_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client.queue import Queue

    CountEnds = Callable[..., list[tuple[int, str, int]]]

__all__ = ["SERIES", "ChangeWatcher", "Throughput", "Version", "series_of"]

SERIES = ("succeeded", "failed", "stopped")
"""Kinds of finished attempts in charts."""
SLICE_S, SLICES = 5.0, 180
"""Length and number of the slices in the throughput of an overview."""
RECOUNTED_SLICES = 2
"""Recent slices that are counted again, since results are recorded in groups shortly after the end."""


def series_of(outcome: str) -> str:
    """Return the kind of an outcome: attempts that were cancelled or returned to the queue did not fail."""
    return "stopped" if outcome in ("cancelled", "returned") else "succeeded" if outcome == "succeeded" else "failed"


class Throughput:
    """Counts finished attempts in slices of time, by kind of outcome; complete slices are counted once.

    Deleted jobs stay counted.
    """

    def __init__(self, count_ends: CountEnds, slice_s: float, slices: int) -> None:
        """Count ``slices`` of ``slice_s`` seconds each; ``count_ends`` is :func:`count_outcomes` of a queue."""
        self._count_ends = count_ends
        self._slice_s = slice_s
        self._slices = slices
        self._counted: Counter[tuple[int, str]] = Counter()
        self._newest: int | None = None

    def read(self, now: float) -> dict[str, Any]:
        """Return the slices up to ``now``, oldest first: ``start``, ``slice_s``, and a list of each of ``SERIES``."""
        newest = int(now // self._slice_s)
        oldest = newest - self._slices + 1
        if self._newest is None or not oldest <= self._newest <= newest:
            self._counted.clear()  # first call, or the clock was changed
            since = oldest
        else:
            since = max(oldest, self._newest - RECOUNTED_SLICES)
        self._count(since, newest)
        self._newest = newest
        series = {name: [self._counted[index, name] for index in range(oldest, newest + 1)] for name in SERIES}
        return {"start": oldest * self._slice_s, "slice_s": self._slice_s, **series}

    def _count(self, since: int, newest: int) -> None:
        start, end = since * self._slice_s, (newest + 1) * self._slice_s
        fresh: Counter[tuple[int, str]] = Counter()
        for offset, outcome, count in self._count_ends(start=start, end=end, slice_s=self._slice_s):
            fresh[since + offset, series_of(outcome)] += count
        kept = {key: count for key, count in self._counted.items() if newest - self._slices < key[0] < since}
        self._counted = Counter(kept) + fresh


Version = tuple[int, int]
"""Revision of the queue and number of deletions; they are equal if and only if nothing was written in between."""

OVERVIEW_MAX_AGE_S = 1.0
"""An overview older than this is read again even without a write: a worker may have died."""


class _ThreadVersion(threading.local):
    """The version that the connection of a thread saw last."""

    changes: tuple[int, ...] | None = None
    version: Version = (-1, -1)


class ChangeWatcher:
    """Watches one queue for any number of views.

    Its methods raise :class:`BadEnvironment` if the file was deleted or replaced, and ``Busy`` if it cannot be read
    in time.
    """

    def __init__(self, queue: Queue, *, program: str = CONSOLE) -> None:
        """Watch ``queue``; ``program`` is how its hints begin a command."""
        self.queue = queue
        self._program = program
        self._throughput = Throughput(partial(count_outcomes, queue.store.db), SLICE_S, SLICES)
        self._seen = _ThreadVersion()
        self._lock = threading.Lock()
        self._overview: dict[str, Any] = {}
        self._made: tuple[Version, float] | None = None

    def version(self) -> Version:
        """Return the version of the content; takes microseconds if nothing was written."""
        changes = self.queue.store.db.change_counters()
        if changes != self._seen.changes:
            self._seen.version = self.queue.store.db.revision()
            self._seen.changes = changes
        return self._seen.version

    def overview(self) -> dict[str, Any]:
        """Return the overview of the queue in JSON types. The object is shared: do not change it.

        ``version`` (a list) · ``path`` of the file · ``at`` (epoch seconds) ·
        ``counts``, ``paused``, ``workers`` and ``eta_s`` as in ``status --json`` ·
        ``eta``: the time left as one line, empty if nothing is left ·
        ``limits``: ``queue``, ``limit`` and ``running`` of limited queues ·
        ``hints``: why jobs wait although they could start ·
        ``throughput``: ``start`` (epoch seconds), ``slice_s`` and, one number a slice, the ``succeeded``, ``failed``
        and ``stopped`` attempts that ended.
        """
        version = self.version()
        with self._lock:
            now = time.monotonic()
            if self._made is None or self._made[0] != version or now - self._made[1] > OVERVIEW_MAX_AGE_S:
                self._overview = self._read_overview(version)
                self._made = (version, now)
            return self._overview

    def _read_overview(self, version: Version) -> dict[str, Any]:
        now = time.time()
        eta = read_eta(self.queue.store)
        return {
            "version": list(version),
            "path": str(self.queue.path),
            "at": now,
            **status_with(self.queue.store, eta),
            "eta": str(eta),
            "limits": [each._asdict() for each in read_limits(self.queue.store.db)],
            "hints": waiting_hints(self.queue.store, program=self._program),
            "throughput": self._throughput.read(now),
        }

    def close(self) -> None:
        """Close the connection of this thread; call it at the end of each thread that used the watcher."""
        self.queue.close()
