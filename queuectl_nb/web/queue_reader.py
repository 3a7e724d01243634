"""State shared by all handlers of a server: the queue, its reader threads and the event feed."""

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

    from queuectl_nb.client.changes import Version
    from queuectl_nb.client.queue import Queue

    T = TypeVar("T")

__all__ = ["QueueReader", "revision_etag"]

FAST_THREADS = 3
"""Threads for reads that take milliseconds."""
SLOW_THREADS = 2
"""Threads for reads that may scan all jobs: searches and statistics."""
STATS_TTL_FACTOR = 10
"""Statistics are cached for this many times the time they took, which bounds the CPU they use."""


class QueueReader:
    """Reads one queue in threads with a connection each, never on the event loop."""

    def __init__(self, open_queue: Callable[[], Queue]) -> None:
        """Call ``open_queue`` at the first request, and again when the file was replaced."""
        self._open = open_queue
        self._lock = threading.Lock()
        self._watcher: ChangeWatcher | None = None
        self._fast = ThreadPoolExecutor(FAST_THREADS, "queuectl-read")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, "queuectl-search")
        self._feed_thread = ThreadPoolExecutor(1, "queuectl-watch")
        self._stats = _StatsCache()
        self.closed = False
        self.feed = EventFeed(partial(self._run, self._feed_thread, lambda watcher: watcher.overview()))

    async def read(self, query: Callable[[ChangeWatcher], T], *, slow: bool = False) -> T:
        """Return ``query(watcher)``, run in a thread; ``slow`` queries queue behind each other only."""
        return await self._run(self._slow if slow else self._fast, query)

    async def _run(self, threads: ThreadPoolExecutor, query: Callable[[ChangeWatcher], T]) -> T:
        if self.closed:
            msg = "the server is shutting down"
            raise Busy(msg)
        return await asyncio.get_running_loop().run_in_executor(threads, lambda: query(self.watcher()))

    def watcher(self) -> ChangeWatcher:
        """Return the watcher of the queue, from any thread; open the queue if needed."""
        with self._lock:
            watcher = self._watcher
            if watcher is not None and watcher.queue.store.db.is_replaced():
                if not watcher.queue.path.exists():  # reading must not create an empty queue
                    msg = f"the queue {watcher.queue.path} was deleted"
                    raise BadEnvironment(msg)
                watcher = None
            if watcher is None:
                watcher = self._watcher = ChangeWatcher(self._open())
            return watcher

    def stats(self, watcher: ChangeWatcher) -> tuple[Version, dict[str, Any]]:
        """Return the statistics and the revision they belong to; blocks, call it in a slow thread."""
        return self._stats.get(watcher)

    def close(self) -> None:
        """Stop the feed and the threads without waiting for running queries."""
        self.closed = True
        self.feed.close()
        for threads in (self._fast, self._slow, self._feed_thread):
            threads.shutdown(wait=False, cancel_futures=True)


def revision_etag(watcher: ChangeWatcher, revision: Version) -> str:
    """Return the ETag of a response that depends only on the content of the queue."""
    identity = f"{__version__} {watcher.queue.path} {watcher.queue.store.db.identity}"
    return f'W/"{hashlib.sha256(identity.encode()).hexdigest()[:12]}-{revision[0]:x}-{revision[1]:x}"'


class _StatsCache:
    """Computes statistics once for concurrent requests and caches them in proportion to their cost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watcher: ChangeWatcher | None = None
        self._cached: tuple[Version, dict[str, Any]] = ((-1, -1), {})
        self._expires = 0.0

    def get(self, watcher: ChangeWatcher) -> tuple[Version, dict[str, Any]]:
        """Return the cached statistics, or new ones if the queue changed and the cache has expired."""
        with self._lock:
            revision = watcher.version()
            start = time.monotonic()
            if self._watcher is not watcher or (revision != self._cached[0] and start > self._expires):
                self._cached = (revision, serializers.stats(watcher.queue))
                self._watcher = watcher
                end = time.monotonic()
                self._expires = end + STATS_TTL_FACTOR * (end - start)
            return self._cached
