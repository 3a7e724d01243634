"""Who looks at a dashboard: pages tell that they are there and whether it can be seen; one that falls silent has gone.

Where nothing of the kernel's loop runs during a cell (an older kernel or JupyterLab), no page can be heard then: who
looked when the cell began is taken to look on until it ends, and somebody is expected where a dashboard was just shown.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["ANYBODY", "Viewers"]

ANYBODY = ""
"""The name of a view that is expected and has not been heard yet."""
SILENCE = 8.0
"""Seconds without a sign of life after which a page is taken for closed: three beats of it."""


@dataclass
class _View:
    heard: float
    visible: bool


class Viewers:
    """The views of one dashboard, by their names. Any thread may tell and ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[str, _View] = {}
        self._cell_began: float | None = None
        self._heard_in_cell = False

    def expect(self) -> None:
        """Expect a page: a dashboard is being shown."""
        with self._lock:
            self._views[ANYBODY] = _View(time.monotonic(), visible=True)

    def heard(self, view: str, *, visible: bool) -> None:
        """Take a sign of life."""
        with self._lock:
            self._views.pop(ANYBODY, None)
            self._views[view] = _View(time.monotonic(), visible)
            if threading.current_thread() is threading.main_thread():
                self._cell_began = None  # the main thread hears, so no cell holds it
            else:
                self._heard_in_cell = True

    def left(self, view: str) -> None:
        """Forget a view that was closed."""
        with self._lock:
            self._views.pop(view, None)

    def follow_cells(self) -> None:
        """Know from now on when a cell of this process's shell, if it has one, runs."""
        if shell := _shell():
            shell.events.register("pre_run_cell", self.cell_begins)
            shell.events.register("post_run_cell", self.cell_ends)
            self.cell_begins()  # the one that shows the dashboard

    def forget_cells(self) -> None:
        """Be told of cells no more."""
        if shell := _shell():
            shell.events.unregister("pre_run_cell", self.cell_begins)
            shell.events.unregister("post_run_cell", self.cell_ends)

    def cell_begins(self, *_info: object) -> None:
        """Take the kernel's main thread for busy from now on."""
        self._cell_began = time.monotonic()
        self._heard_in_cell = False

    def cell_ends(self, *_info: object) -> None:
        """Take the main thread for hearing again: pages get the time to say that they are still there."""
        with self._lock:
            if self._cell_began is not None and not self._heard_in_cell:
                now = time.monotonic()
                for view in self._looking_at(self._cell_began):
                    self._views[view].heard = now
            self._cell_began = None

    def views(self) -> list[str]:
        """Return the views that somebody looks at now."""
        with self._lock:
            deaf_since = None if self._heard_in_cell else self._cell_began
            return self._looking_at(time.monotonic() if deaf_since is None else deaf_since)

    def _looking_at(self, moment: float) -> list[str]:
        return [name for name, view in self._views.items() if view.visible and moment - view.heard < SILENCE]


def _shell() -> InteractiveShell | None:
    """Return the shell of this process."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell: InteractiveShell | None = get_ipython()
    return shell
