"""What a live view shows of a queue, and whether it has changed: the core under the notebook's widget and the web page.

It knows no framework, and any number of threads may ask at once: each reads on a connection of its own.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.throughput import Throughput
from queuectl_nb.render.json_shapes import status_json

if TYPE_CHECKING:
    from queuectl_nb.client.queue import Queue

__all__ = ["ChangeWatcher", "Version"]

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
            **status_json(queue.counts(), queue.paused(), queue.worker_list()),
            "throughput": self._throughput.read(now),
        }

    def close(self) -> None:
        """Close this thread's connection; call it in each thread that has asked and ends."""
        self.queue.close()
