"""What all handlers of one server share: the queue, the threads that read it, and the feed of changes."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from queuectl_nb import __version__
from queuectl_nb.client.changes import ChangeWatcher
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.web import serializers
from queuectl_nb.web.event_feed import EventFeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client.changes import Stamp
    from queuectl_nb.client.queue import Queue

    T = TypeVar("T")

__all__ = ["QueueReader", "etag"]

READERS = 3
"""Threads for looks that cost milliseconds."""
SEARCHERS = 2
"""Threads for looks that may walk through all jobs: searches, statistics."""
REST = 10
"""Statistics are kept for so many times what they cost to make, so that they never keep a core busy."""


class QueueReader:
    """One queue on the web. Its reading happens in threads, a connection each, and never on the event loop."""

    def __init__(self, open_queue: Callable[[], Queue]) -> None:
        """Show the queue that ``open_queue`` opens at the first request, and again when its file was replaced."""
        self._open = open_queue
        self._lock = threading.Lock()
        self._watch: ChangeWatcher | None = None
        self._readers = ThreadPoolExecutor(READERS, "queuectl-read")
        self._searchers = ThreadPoolExecutor(SEARCHERS, "queuectl-search")
        self._watcher = ThreadPoolExecutor(1, "queuectl-watch")
        self._stats = _Kept()
        self.closed = False
        self.feed = EventFeed(partial(self._on, self._watcher, lambda watch: watch.overview()))

    # ------------------------------------------------------------------ ask

    async def ask(self, look: Callable[[ChangeWatcher], T], *, slow: bool = False) -> T:
        """Return ``look(watch)``, carried out in a thread; ``slow`` ones wait only for their like.

        Raises what the queue raises.
        """
        return await self._on(self._searchers if slow else self._readers, look)

    async def _on(self, pool: ThreadPoolExecutor, look: Callable[[ChangeWatcher], T]) -> T:
        if self.closed:
            msg = "the server is ending"
            raise Busy(msg)
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: look(self.watch()))

    def watch(self) -> ChangeWatcher:
        """Return the watch over the queue, in whatever thread; opens the queue where it is not open."""
        with self._lock:
            watch = self._watch
            if watch is not None and watch.queue.store.db.replaced():
                if not watch.queue.path.exists():  # looking must not make an empty queue in its place
                    msg = f"the queue {watch.queue.path} was deleted"
                    raise BadEnvironment(msg)
                watch = None
            if watch is None:
                watch = self._watch = ChangeWatcher(self._open())
            return watch

    def stats(self, watch: ChangeWatcher) -> tuple[Stamp, dict[str, Any]]:
        """Return the statistics with the stamp they belong to; for a slow thread."""
        return self._stats.of(watch)

    def close(self) -> None:
        """End the threads; what they are doing is waited for by nobody."""
        self.closed = True
        self.feed.close()
        for pool in (self._readers, self._searchers, self._watcher):
            pool.shutdown(wait=False, cancel_futures=True)


def etag(watch: ChangeWatcher, stamp: Stamp) -> str:
    """Return the tag of what depends on nothing but the queue's content: another queue or version has others."""
    identity = f"{__version__} {watch.queue.path} {watch.queue.store.db.identity}"
    return f'W/"{hashlib.sha256(identity.encode()).hexdigest()[:12]}-{stamp[0]:x}-{stamp[1]:x}"'


class _Kept:
    """Statistics made once for all who ask at the same time, and kept for a while in proportion to their cost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: ChangeWatcher | None = None
        self._made: tuple[Stamp, dict[str, Any]] = ((-1, -1), {})
        self._until = 0.0

    def of(self, watch: ChangeWatcher) -> tuple[Stamp, dict[str, Any]]:
        """Return them; made anew where the queue has changed and they have been kept long enough."""
        with self._lock:
            stamp = watch.version()
            began = time.monotonic()
            if self._of is not watch or (stamp != self._made[0] and began > self._until):
                self._made = (stamp, serializers.stats(watch.queue))
                self._of = watch
                ended = time.monotonic()
                self._until = ended + REST * (ended - began)
            return self._made
