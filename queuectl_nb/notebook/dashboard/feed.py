"""The thread that feeds a dashboard: it polls the queue while the dashboard is visible, and sends what changed.

Only this thread reads the queue for display; other threads put functions into its inbox. It never prints: errors are
shown in the dashboard, once.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.job_list import JobList
from queuectl_nb.client.metrics import ReportedValues, running_metrics
from queuectl_nb.client.subshells import outside_of_cells
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.notebook.dashboard.log_feed import LogFeed
from queuectl_nb.notebook.dashboard.table_feed import TableFeed
from queuectl_nb.render.json_shapes import error_group_json
from queuectl_nb.store.error_groups import read_error_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuectl_nb.client.changes import ChangeWatcher, Version
    from queuectl_nb.notebook.dashboard.dashboard import Dashboard
    from queuectl_nb.store.job_filter import Filter

__all__ = ["MAX_GROUPS", "DashboardFeed", "ErrorFeed"]

MAX_GROUPS = 50
"""Groups in a view."""
MIN_INTERVAL_S = 1.0
COST_FACTOR = 20
"""The groups of a changed queue are read again at most after this many times the duration of the last read."""
NO_ERRORS: Mapping[str, Any] = {"errors": [], "more": False}
TABLE_INTERVAL_S = 1.0
"""Minimum time between two updates of table and overview, unless the user did something."""
POLL_INTERVAL_S = 0.2
OVERVIEW_INTERVAL_S = 2.0
"""An unchanged queue is summarized this often: workers die, and time passes, without a write."""
RETRY_INTERVAL_S = 2.0
"""Time between two attempts to read a queue that cannot be read."""
IDLE_TIMEOUT_S = 30.0
"""The thread ends after this time without a visible page; the next page starts another."""


class ErrorFeed:
    """The groups of failed jobs in a filter, whatever its states and group."""

    def __init__(self, watch: ChangeWatcher) -> None:
        self.latest: Mapping[str, Any] = NO_ERRORS
        """``errors``, the largest groups first, and whether there are ``more``."""
        self._watch = watch
        self._thread: threading.Thread | None = None
        self._read: tuple[Filter, Version] | None = None
        self._due_at = 0.0

    def update(self, job_filter: Filter, version: Version, *, failures: int) -> None:
        """Start reading the groups if they may have changed; ``latest`` has them later."""
        wanted = (replace(job_filter, state=(), error=None, sort=None, reverse=False), version)
        if wanted == self._read or (self._thread is not None and self._thread.is_alive()):
            return
        if self._read is not None and wanted[0] == self._read[0] and time.monotonic() < self._due_at:
            return
        self._read = wanted
        if not failures:
            self.latest = NO_ERRORS
            return
        self._thread = threading.Thread(target=self._run, args=(wanted[0],), name="queuectl-errors", daemon=True)
        self._thread.start()

    def _run(self, job_filter: Filter) -> None:
        start = time.monotonic()
        try:
            found = read_error_groups(self._watch.queue.store.db, job_filter, MAX_GROUPS + 1)
            groups = [error_group_json(each) for each in found[:MAX_GROUPS]]
            self.latest = {"errors": groups, "more": len(found) > MAX_GROUPS}
        except QueuectlError:
            self._read = None  # the feed reports that the queue cannot be read
        finally:
            self._watch.close()
            self._due_at = time.monotonic() + max(MIN_INTERVAL_S, COST_FACTOR * (time.monotonic() - start))


class DashboardFeed:
    """Feeds one dashboard.

    ``table``, ``logs`` and ``jobs`` are for functions passed to :meth:`submit`, which run in the feed's thread.
    """

    def __init__(self, watch: ChangeWatcher, dashboard: Dashboard) -> None:
        """Show on ``dashboard`` what ``watch`` reads, while pages show it."""
        self.watch = watch
        self.jobs = JobList(watch, self.wake)
        self.table = TableFeed(self.jobs)
        self.errors = ErrorFeed(watch)
        self.logs: dict[str, LogFeed] = {}
        self._dashboard = dashboard
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._version: Version | None = None
        self._busy = False
        self._heartbeat_at = 0.0
        self._overview_at = 0.0
        self._table_at = 0.0
        self._live_at = 0.0
        self._live: dict[str, ReportedValues] = {}

    def submit(self, function: Callable[[], object]) -> None:
        """Run ``function`` in the feed's thread and then update, unless it returns False; ignored once closed."""
        self._inbox.put(function)
        with self._lock:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="queuectl-dashboard", daemon=True)
                self._thread.start()
        self._wake.set()

    def log(self, view: str) -> LogFeed:
        """Return the log that a page shows."""
        return self.logs.setdefault(view, LogFeed(self.watch.queue))

    def wake(self) -> None:
        """Update now. Through the inbox, so that an update in progress does not swallow it."""
        self.submit(lambda: None)

    def close(self) -> None:
        """End the thread and wait for it."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)

    @property
    def running(self) -> bool:
        """Whether the thread is running."""
        return self._thread is not None

    def _run(self) -> None:
        try:
            with outside_of_cells():
                self._run_until_idle()
        finally:
            self.jobs.close()
            self.watch.close()
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _run_until_idle(self) -> None:
        last_viewed = time.monotonic()
        while not self._closed:
            views = self._dashboard.viewers.visible_views()
            now = time.monotonic()
            last_viewed = now if views else last_viewed
            if now - last_viewed > IDLE_TIMEOUT_S and self._end_if_idle():
                return
            self._wake.wait(self._step(views))
            self._wake.clear()

    def _end_if_idle(self) -> bool:
        """Give up the thread unless the inbox has something."""
        with self._lock:
            if not self._inbox.empty():
                return False
            self._thread = None
            return True

    def _step(self, views: list[str]) -> float:
        """Run the functions in the inbox and send what changed; return the seconds until the next step."""
        try:
            while not self._inbox.empty():
                if self._inbox.get()() is not False:
                    self._table_at = 0.0
            if not views:
                self.table.keep_views([])
                self._version = None
                return IDLE_TIMEOUT_S
            self._update(views)
            self._dashboard.show_error(None)
        except QueuectlError as error:
            self._dashboard.show_error(str(error))
            return RETRY_INTERVAL_S
        except Exception as error:  # noqa: BLE001 - shown in the dashboard; a thread must not print into a cell
            self._dashboard.show_error(f"internal error: {type(error).__name__}: {error}")
            return RETRY_INTERVAL_S
        return POLL_INTERVAL_S

    def _update(self, views: list[str]) -> None:
        now = time.monotonic()
        version = self.watch.version()
        changed = version != self._version or self.jobs.outdated
        due = not self._table_at or (changed and now - self._table_at >= TABLE_INTERVAL_S)
        overview = None
        # everything is read before anything is sent: what arrives together is painted together
        if due or now - self._overview_at >= OVERVIEW_INTERVAL_S:
            overview, self._overview_at = self.watch.overview(), now
        if due:
            self.table.keep_views(views)
            for message in self.table.messages():
                self._dashboard.table_pane.send(message)
            self._table_at = time.monotonic()
            self._version = version
        busy = self._dashboard.viewers.busy
        if busy != self._busy or now - self._heartbeat_at >= OVERVIEW_INTERVAL_S:
            self._dashboard.send_heartbeat()
            self._busy, self._heartbeat_at = busy, now
        if overview is not None:
            self._dashboard.show_overview(overview)
            failures = overview["counts"]["failed"] + overview["counts"]["dead"]
            self.errors.update(self.jobs.filter, version, failures=failures)
        self._dashboard.show_errors(self.errors.latest)
        if due or now - self._live_at >= TABLE_INTERVAL_S:
            self._send_live()
            self._live_at = now
        for view in views:
            log_message = self.log(view).message()
            if log_message is not None:
                self._dashboard.log_pane.send({"view": view, **log_message})

    def _send_live(self) -> None:
        """Send what running jobs have reported, to all pages."""
        live = running_metrics(self.watch.queue.store)
        if live or self._live:
            self._dashboard.table_pane.send(
                {"kind": "live", "jobs": {name: each._asdict() for name, each in live.items()}}
            )
        self._live = live
