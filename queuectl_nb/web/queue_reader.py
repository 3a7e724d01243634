"""State shared by all handlers of a server: the queue, its reader threads and the event feed."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from queuectl_nb import __version__
from queuectl_nb.client.changes import ChangeWatcher
from queuectl_nb.model.errors import Busy
from queuectl_nb.store.metrics import live_size
from queuectl_nb.web.event_feed import EventFeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client.changes import Version
    from queuectl_nb.client.queue import Queue

    T = TypeVar("T")

__all__ = ["QueueReader", "revision_etag"]

FAST_THREADS = 4
"""Threads for reads that take milliseconds."""
SLOW_THREADS = 2
"""Threads for reads that may scan all jobs: searches and statistics."""
CACHE_TTL_FACTOR = 10
"""Statistics are cached for this many times the time they took, which bounds the CPU they use."""


class _Result(NamedTuple):
    """A cached result, the version of the queue that it belongs to, and when it may be computed again."""

    value: Any
    of: tuple[ChangeWatcher, Version]
    expires_at: float


class QueueReader:
    """Reads one queue in threads with a connection each, never on the event loop."""

    def __init__(self, open_queue: Callable[[], Queue]) -> None:
        """Call ``open_queue`` at the first request, and again when the file was replaced."""
        self._open = open_queue
        self._lock = threading.Lock()
        self._watcher: ChangeWatcher | None = None
        self._fast = ThreadPoolExecutor(FAST_THREADS, "queuectl-read")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, "queuectl-search")
        self._cache_lock = threading.Lock()
        self._cache: dict[Callable[[ChangeWatcher], Any], _Result] = {}
        self.closed = False
        self.feed = EventFeed(lambda: self.read(lambda watcher: watcher.overview()))

    async def read(self, query: Callable[[ChangeWatcher], T], *, slow: bool = False) -> T:
        """Return ``query(watcher)``, run in a thread; ``slow`` queries wait only for each other."""
        if self.closed:
            raise Busy("the server is shutting down")
        threads = self._slow if slow else self._fast
        return await asyncio.get_running_loop().run_in_executor(threads, lambda: query(self.watcher()))

    def watcher(self) -> ChangeWatcher:
        """Return the watcher of the queue, from any thread; open the queue if needed."""
        with self._lock:
            watcher = self._watcher
            if watcher is None or watcher.queue.store.db.is_replaced():
                watcher = self._watcher = ChangeWatcher(self._open())
            return watcher

    def cached(self, compute: Callable[[ChangeWatcher], Any], watcher: ChangeWatcher) -> Any:
        """Return ``compute(watcher)``; the longer it took, the longer an outdated result is reused."""
        with self._cache_lock:
            current = (watcher, watcher.version())
            start = time.monotonic()
            found = self._cache.get(compute)
            if found is None or found.of[0] is not watcher or (found.of != current and start > found.expires_at):
                result = compute(watcher)
                end = time.monotonic()
                found = self._cache[compute] = _Result(result, current, end + CACHE_TTL_FACTOR * (end - start))
            return found.value

    def close(self) -> None:
        """Stop the feed and the threads without waiting for running queries."""
        self.closed = True
        self.feed.close()
        for threads in (self._fast, self._slow):
            threads.shutdown(wait=False, cancel_futures=True)


def revision_etag(watcher: ChangeWatcher) -> str:
    """Return the ETag of a response that depends only on the content of the queue."""
    revision = watcher.version()
    identity = f"{__version__} {watcher.queue.path} {watcher.queue.store.db.identity}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return f'W/"{digest}-{revision[0]:x}-{revision[1]:x}-{live_size(watcher.queue.store.db):x}"'
