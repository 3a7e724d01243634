"""Tracks which pages show a dashboard: each sends heartbeats with its visibility; a page without one counts as closed.

With an older kernel or JupyterLab, heartbeats are not received while a cell runs. Then pages that were visible when the
cell began count as visible until it ends, and one is assumed where a dashboard has just been displayed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from IPython import get_ipython

__all__ = ["UNKNOWN_VIEW", "Viewers"]

UNKNOWN_VIEW = ""
"""Stands for a page that was displayed and has not sent a heartbeat yet."""
HEARTBEAT_TIMEOUT_S = 8.0
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
        self._cell_started_at: float | None = None
        self._heartbeat_in_cell = False

    def expect(self) -> None:
        """Assume a page: the dashboard is being displayed."""
        with self._lock:
            self._views[UNKNOWN_VIEW] = _View(time.monotonic(), visible=True)

    def record_heartbeat(self, view: str, *, visible: bool) -> None:
        """Record a heartbeat."""
        with self._lock:
            self._views.pop(UNKNOWN_VIEW, None)
            self._views[view] = _View(time.monotonic(), visible)
            if threading.current_thread() is threading.main_thread():
                self._cell_started_at = None  # the main thread is free: no cell is running
            else:
                self._heartbeat_in_cell = True

    def remove(self, view: str) -> None:
        """Forget a page that was closed."""
        with self._lock:
            self._views.pop(view, None)

    def watch_cells(self) -> None:
        """Register for the start and end of cells, if this process has an IPython shell."""
        if shell := get_ipython():
            shell.events.register("pre_run_cell", self.cell_started)
            shell.events.register("post_run_cell", self.cell_finished)
            self.cell_started()  # the cell that creates the dashboard

    def unwatch_cells(self) -> None:
        """Undo :meth:`watch_cells`."""
        if shell := get_ipython():
            shell.events.unregister("pre_run_cell", self.cell_started)
            shell.events.unregister("post_run_cell", self.cell_finished)

    def cell_started(self, *_info: object) -> None:
        """Note that the main thread is busy."""
        self._cell_started_at = time.monotonic()
        self._heartbeat_in_cell = False

    def cell_finished(self, *_info: object) -> None:
        """Note that the main thread is free; restart the timeout of pages that could not be heard."""
        with self._lock:
            if self._cell_started_at is not None and not self._heartbeat_in_cell:
                now = time.monotonic()
                for view in self._visible_at(self._cell_started_at):
                    self._views[view].heartbeat_at = now
            self._cell_started_at = None

    def visible_views(self) -> list[str]:
        """Return the pages on which the dashboard is visible now."""
        with self._lock:
            unheard_since = None if self._heartbeat_in_cell else self._cell_started_at
            return self._visible_at(time.monotonic() if unheard_since is None else unheard_since)

    def _visible_at(self, moment: float) -> list[str]:
        return [
            name
            for name, view in self._views.items()
            if view.visible and moment - view.heartbeat_at < HEARTBEAT_TIMEOUT_S
        ]
