"""The page of a notebook, where this process is its kernel: places on it that can be written again."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.errors import QueuectlError

if TYPE_CHECKING:
    from queuectl_nb.client.wait import Progress, Wait

__all__ = ["OutputCell", "has_frontend", "new_output_cell", "run_with_progress"]


class OutputCell:
    """One output of a cell, which any thread may write again at any time, also while another cell runs.

    It is a display with an id, so that the page, a saved notebook and nbconvert keep the last thing that was written.
    """

    def __init__(self, shell: Any) -> None:
        """Write through ``shell``."""
        self._shell = shell
        self._id = uuid.uuid4().hex
        self.shown = False

    def write(self, html: str, text: str) -> None:
        """Show this: the first time below what the running cell has written, then in the same place."""
        data = {"text/plain": text} | ({"text/html": html} if html else {})
        self._shell.display_pub.publish(data, {}, transient={"display_id": self._id}, update=self.shown)
        self.shown = True

    def clear(self) -> None:
        """Show nothing in this place."""
        if self.shown:
            data = {"text/html": "", "text/plain": ""}
            self._shell.display_pub.publish(data, {}, transient={"display_id": self._id}, update=True)


def _shell() -> Any:
    """Return the kernel's shell; None where this process is none.

    Asks only whether IPython is here already: a script or a terminal must not load it for this.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if hasattr(shell, "kernel") else None


def has_frontend() -> bool:
    """Tell whether what is displayed reaches the page of a notebook, captured or not."""
    return _shell() is not None


def new_output_cell() -> OutputCell | None:
    """Return a new place on the page; None where there is no page: no kernel, or its output is captured."""
    shell = _shell()
    if shell is None:
        return None
    from IPython.core.displaypub import CapturingDisplayPublisher

    return None if isinstance(shell.display_pub, CapturingDisplayPublisher) else OutputCell(shell)


SHOW_AFTER_S = 0.3
"""Seconds before a wait is shown at all: most that are shorter need no bar."""
INTERRUPTED_TEXT = "no longer waiting; the jobs go on"
REDRAW_INTERVAL_S = 0.25
"""Seconds between two states of it."""


def run_with_progress(wait: Wait, *, keep: bool = True) -> Progress:
    """Carry out a wait; on a page its progress is shown, and with ``keep`` how it ended stays there.

    Only the main thread shows: what other threads of a notebook wait for is their own affair. An interrupt ends the
    waiting and touches no job.
    """
    spot = new_output_cell() if threading.current_thread() is threading.main_thread() else None
    if spot is None:
        return wait.run()
    return _WaitDisplay(wait, spot, keep=keep).run()


class _WaitDisplay:
    """The progress of one wait in its place."""

    def __init__(self, wait: Wait, cell: OutputCell, *, keep: bool) -> None:
        self._wait = wait
        self._cell = cell
        self._keep = keep
        self._shown = ""
        self._began = time.monotonic()

    def run(self) -> Progress:
        """Look until all are at rest."""
        due = self._began + SHOW_AFTER_S
        progress = None
        try:
            for progress in self._wait.poll():
                if time.monotonic() >= due:
                    self._write(progress)
                    due = time.monotonic() + REDRAW_INTERVAL_S
        except KeyboardInterrupt as stop:
            self._finish(progress, INTERRUPTED_TEXT)
            # IPython looks for this: where we waited tells nobody anything
            stop._render_traceback_ = lambda: [f"KeyboardInterrupt: {INTERRUPTED_TEXT}"]  # type: ignore[attr-defined]
            raise
        except BaseException:
            self._finish(progress, "")
            raise
        assert progress is not None  # noqa: S101 - there is one look at least
        self._finish(progress, "")
        return progress

    def _finish(self, progress: Progress | None, why: str) -> None:
        from queuectl_nb.client.live_cards import card_updater
        from queuectl_nb.render.durations import format_duration

        with contextlib.suppress(QueuectlError):  # a job that was removed meanwhile
            if progress is not None and self._cell.shown:
                if self._keep:
                    self._write(progress, why or f"after {format_duration(time.monotonic() - self._began)}")
                else:
                    self._cell.clear()
        card_updater.refresh()

    def _write(self, progress: Progress, end: str = "") -> None:
        from queuectl_nb.client.live_cards import read_live
        from queuectl_nb.render.live_cards import RunStatus, wait_html, wait_text

        rested = {str(state): n for state, n in progress.finished.items()}
        record, live = None, RunStatus()
        store, ids = self._wait.store, self._wait.ids
        if ids is not None and len(ids) == 1:
            record = store.jobs.get(ids[0])
            live = read_live(store, record, store.reader.attempts_without_output(ids[0]))
        html = wait_html(record, live, rested, progress.remaining, end)
        if html != self._shown:
            self._cell.write(html, wait_text(rested, progress.remaining, end))
            self._shown = html
