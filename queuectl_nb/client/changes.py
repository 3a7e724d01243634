"""What a live view shows of a queue, and whether it has changed: the core under the notebook's widget and the web page.

It knows no framework, and any number of threads may ask at once: each reads on a connection of its own.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.render.json_shapes import status_json

if TYPE_CHECKING:
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.store.reader import Reader

__all__ = ["ChangeWatcher", "Throughput", "Version"]

RECOUNTED_SLICES = 2
"""Slices before the present one that are counted anew: results are recorded a moment after the end, in groups."""


class Throughput:
    """The last slices of time with the number of attempts that ended well, and otherwise, in each.

    What was counted stays when jobs are removed: it did happen.
    """

    def __init__(self, reading: Reader, slice_s: float, slices: int) -> None:
        """Count ``slices`` of ``slice_s`` seconds each."""
        self._reader = reading
        self._slice_s = slice_s
        self._slices = slices
        self._counted: dict[int, tuple[int, int]] = {}
        self._newest: int | None = None

    def read(self, now: float) -> dict[str, Any]:
        """Return the slices up to epoch second ``now``: ``start``, ``slice_s``, ``ok`` and ``not_ok``, oldest first."""
        newest = int(now // self._slice_s)
        oldest = newest - self._slices + 1
        if self._newest is None or not oldest <= self._newest <= newest:
            self._counted.clear()  # the first look, or one after the clock was set
            since = oldest
        else:
            since = max(oldest, self._newest - RECOUNTED_SLICES)
        self._count(since, newest)
        self._newest = newest
        pairs = [self._counted.get(place, (0, 0)) for place in range(oldest, newest + 1)]
        return {
            "start": oldest * self._slice_s,
            "slice_s": self._slice_s,
            "ok": [ok for ok, _ in pairs],
            "not_ok": [bad for _, bad in pairs],
        }

    def _count(self, since: int, newest: int) -> None:
        start, end = since * self._slice_s, (newest + 1) * self._slice_s
        fresh: dict[int, list[int]] = {}
        for place, ok, count in self._reader.count_finished(start, end, self._slice_s):
            fresh.setdefault(since + place, [0, 0])[0 if ok else 1] += count
        kept = {place: pair for place, pair in self._counted.items() if newest - self._slices < place < since}
        self._counted = kept | {place: (ok, bad) for place, (ok, bad) in fresh.items()}


Version = tuple[int, int]
"""The queue's revision and its number of deletions: equal stamps mean that nothing was written in between."""

OVERVIEW_MAX_AGE_S = 1.0
"""Seconds for which an unchanged queue's overview is kept: workers die and time passes without a write."""


class _ThreadVersion(threading.local):
    """What a thread's connection saw last, and the stamp that went with it."""

    changes: tuple[int, int] | None = None
    stamp: Version = (-1, -1)


class ChangeWatcher:
    """Looks at one queue for everybody who shows it.

    Raises what the queue raises: :class:`BadEnvironment` when its file was deleted or replaced, ``Busy`` when it
    cannot be read for long.
    """

    def __init__(self, queue: Queue, *, minutes: float = 15, slices: int = 180) -> None:
        """Watch ``queue``; throughput covers the last ``minutes`` in so many ``slices``."""
        self.queue = queue
        self._throughput = Throughput(queue.store.reader, minutes * 60 / slices, slices)
        self._seen = _ThreadVersion()
        self._lock = threading.Lock()
        self._overview: dict[str, Any] = {}
        self._made: tuple[Version, float] | None = None

    def version(self) -> Version:
        """Return what identifies the queue's content now; microseconds where nothing was written since."""
        changes = self.queue.store.db.change_counters()
        if changes != self._seen.changes:
            self._seen.stamp = self.queue.store.reader.revision()
            self._seen.changes = changes
        return self._seen.stamp

    def changed(self, since: Version | None) -> bool:
        """Tell whether anything was written since the stamp ``since``; None for one who has seen nothing."""
        return self.version() != since

    def overview(self) -> dict[str, Any]:
        """Return the queue at a glance, as JSON has it; do not change it, others are given the same object.

        ``stamp`` (a list) · ``at`` (epoch seconds) · ``counts``, ``paused`` and ``workers`` as in ``status --json`` ·
        ``throughput``: ``start`` (epoch seconds), ``slice_s`` and, one number a slice, ``ok`` and ``not_ok``
        attempts that ended.
        """
        stamp = self.version()
        with self._lock:
            now = time.monotonic()
            if self._made is None or self._made[0] != stamp or now - self._made[1] > OVERVIEW_MAX_AGE_S:
                self._overview = self._read_overview(stamp)
                self._made = (stamp, now)
            return self._overview

    def _read_overview(self, stamp: Version) -> dict[str, Any]:
        queue = self.queue
        now = time.time()
        return {
            "stamp": list(stamp),
            "at": now,
            **status_json(queue.store.reader.counts(), queue.store.reader.paused_queues(), queue.worker_list()),
            "throughput": self._throughput.read(now),
        }

    def close(self) -> None:
        """Close this thread's connection; call it in each thread that has asked and ends."""
        self.queue.close()
