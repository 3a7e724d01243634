"""Tracks which pages show a dashboard: each sends heartbeats with its visibility; a page without one counts as closed.

The main thread handles heartbeats, and pages send none while it is busy with a cell. Until it is free again, the last
known state of each page applies.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from IPython import get_ipython

__all__ = ["UNKNOWN_VIEW", "Viewers"]

UNKNOWN_VIEW = ""
"""Placeholder for a page that was displayed and has not sent a heartbeat yet."""
HEARTBEAT_TIMEOUT_S = 15.0
"""Three intervals of heartbeat.js."""


@dataclass
class _View:
    heartbeat_at: float
    visible: bool


class Viewers:
    """The pages of one dashboard. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[str, _View] = {}
        self._depth = 0
        self._busy_since: float | None = None

    @property
    def busy(self) -> bool:
        """Whether the main thread is running a cell or a callback of another widget."""
        return self._busy_since is not None

    def expect(self) -> None:
        """Assume a page: the dashboard is being displayed."""
        with self._lock:
            self._views[UNKNOWN_VIEW] = _View(time.monotonic(), visible=True)

    def record(self, view: str, *, visible: bool) -> None:
        """Record a heartbeat, or that a page was loaded, shown or hidden."""
        with self._lock:
            self._views.pop(UNKNOWN_VIEW, None)
            self._views[view] = _View(time.monotonic(), visible)

    def remove(self, view: str) -> None:
        """Forget a page that was closed."""
        with self._lock:
            self._views.pop(view, None)

    def watch_cells(self) -> None:
        """Register for the start and end of cells, if this process has an IPython shell."""
        if shell := get_ipython():
            shell.events.register("pre_execute", self.started)
            shell.events.register("post_execute", self.finished)
            kernel: Any = getattr(shell, "kernel", None)
            if kernel is not None and kernel.get_parent().get("header", {}).get("msg_type") == "execute_request":
                self.started()  # the cell that creates the dashboard

    def unwatch_cells(self) -> None:
        """Undo :meth:`watch_cells`."""
        if shell := get_ipython():
            shell.events.unregister("pre_execute", self.started)
            shell.events.unregister("post_execute", self.finished)

    def started(self) -> None:
        """Record that the main thread is busy. A cell that runs others is busy until the outermost has ended."""
        if threading.current_thread() is threading.main_thread():
            self._depth += 1
            self._busy_since = self._busy_since or time.monotonic()

    def finished(self) -> None:
        """Record that the main thread is free; restart the timeout of pages that were visible."""
        if threading.current_thread() is not threading.main_thread():
            return  # a callback of another widget in a subshell
        self._depth = max(0, self._depth - 1)
        if self._depth or self._busy_since is None:
            return
        with self._lock:
            for view in self._visible_at(self._busy_since):
                self._views[view].heartbeat_at = time.monotonic()
            self._busy_since = None

    def visible_views(self) -> list[str]:
        """Return the pages on which the dashboard is visible now, or at the start of the running cell."""
        with self._lock:
            return self._visible_at(time.monotonic() if self._busy_since is None else self._busy_since)

    def _visible_at(self, moment: float) -> list[str]:
        return [
            name
            for name, view in self._views.items()
            if view.visible and moment - view.heartbeat_at < HEARTBEAT_TIMEOUT_S
        ]
