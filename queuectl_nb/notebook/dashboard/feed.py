"""The thread that feeds a dashboard: it looks at the queue while somebody looks at the dashboard, and only then.

It alone touches the queue for showing; whoever wants something of it puts a function into its inbox. It never prints:
what goes wrong is said in the dashboard, once.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from queuectl_nb.client.job_list import JobList
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.notebook.dashboard.log_feed import LogFeed
from queuectl_nb.notebook.dashboard.table_feed import TableFeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client.changes import ChangeWatcher, Version
    from queuectl_nb.notebook.dashboard.viewers import Viewers

__all__ = ["DashboardFeed", "FeedSink"]

PACE = 0.4
"""Seconds between two looks at a queue that changes."""
LOG_PACE = 0.2
"""Seconds between two looks at a log that is being written."""
GLANCE = 2.0
"""Seconds after which also an unchanged queue is looked at: workers die, and time passes, without a write."""
TROUBLED = 2.0
"""Seconds between two tries at a queue that cannot be read."""
LINGER = 30.0
"""Seconds without anybody looking after which the thread ends; the next page starts another."""


class FeedSink(Protocol):
    """What a feed shows things on. All methods may be called from its thread."""

    def show(self, overview: dict[str, Any]) -> None:
        """Show counts, workers, throughput."""

    def send_table(self, message: dict[str, Any]) -> None:
        """Send a message to the table's pages."""

    def send_log(self, message: dict[str, Any]) -> None:
        """Send a message to the log's pages."""

    def trouble(self, text: str | None) -> None:
        """Say that the queue cannot be shown, and why; None when it can again."""


class DashboardFeed:
    """Feeds one dashboard.

    ``table``, ``log`` and ``jobs`` are for functions given to :meth:`do`, which run in the feed's thread.
    """

    def __init__(self, watch: ChangeWatcher, audience: Viewers, screen: FeedSink) -> None:
        """Show what ``watch`` sees on ``screen`` while there is an ``audience``."""
        self.watch = watch
        self.jobs = JobList(watch, self.wake)
        self.table = TableFeed(self.jobs)
        self.log = LogFeed(watch.queue)
        self._audience = audience
        self._screen = screen
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._stamp: Version | None = None
        self._glanced = 0.0
        self._looked = 0.0

    def do(self, act: Callable[[], object]) -> None:
        """Have the feed's thread run ``act`` soon, and look unless it gives False; a closed feed does nothing more."""
        self._inbox.put(act)
        with self._lock:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="queuectl-dashboard", daemon=True)
                self._thread.start()
        self._wake.set()

    def wake(self) -> None:
        """Look at once: something is there to be shown. Through the inbox, so that no look under way swallows it."""
        self.do(lambda: None)

    def close(self) -> None:
        """End the thread, for good, and wait for it unless it is the caller's own."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)

    @property
    def running(self) -> bool:
        """Whether there is a thread now."""
        return self._thread is not None

    def _run(self) -> None:
        last = time.monotonic()
        try:
            while not self._closed:
                looking = self._audience.views()
                now = time.monotonic()
                last = now if looking else last
                if now - last > LINGER and self._end_idle():
                    return
                self._wake.wait(self._turn(looking))
                self._wake.clear()
        finally:
            self.jobs.close()
            self.watch.close()
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _end_idle(self) -> bool:
        """Give the thread up, unless something has come in meanwhile."""
        with self._lock:
            if not self._inbox.empty():
                return False
            self._thread = None
            return True

    def _turn(self, looking: list[str]) -> float:
        """Do what was asked and show what is new; return after how many seconds to look again."""
        try:
            while not self._inbox.empty():
                if self._inbox.get()() is not False:
                    self._looked = 0.0
            if not looking:
                self.table.keep([])
                self._stamp = None
                return LINGER
            pace = self._look(looking)
            self._screen.trouble(None)
        except QueuectlError as error:
            self._screen.trouble(str(error))
            return TROUBLED
        except Exception as error:  # noqa: BLE001 - a bug of ours is said in a line, not printed into anybody's cell
            self._screen.trouble(f"internal error: {type(error).__name__}: {error}")
            return TROUBLED
        return pace

    def _look(self, looking: list[str]) -> float:
        now = time.monotonic()
        stamp = self.watch.version()
        changed = stamp != self._stamp
        if not self._looked or ((changed or self.jobs.outdated) and now - self._looked >= PACE):
            self.table.keep(looking)
            for message in self.table.messages():
                self._screen.send_table(message)
            self._looked = time.monotonic()
            self._stamp = stamp
            changed = True
        if changed or now - self._glanced >= GLANCE:
            self._screen.show(self.watch.overview())
            self._screen.send_table({"kind": "pulse"})  # where pages cannot be heard, they still hear
            self._glanced = now
        written = self.log.message()
        if written is not None:
            self._screen.send_log(written)
        return LOG_PACE
