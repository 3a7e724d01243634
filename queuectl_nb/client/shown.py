"""A wait that a notebook's page shows while it goes on: of one job what it does, of many how many are at rest."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from queuectl_nb.client.display import output_cell
from queuectl_nb.model.errors import QueuectlError

if TYPE_CHECKING:
    from queuectl_nb.client.display import OutputCell
    from queuectl_nb.client.wait import Progress, Wait

__all__ = ["run"]

FIRST = 0.3
"""Seconds before a wait is shown at all: most that are shorter need no bar."""
STOPPED = "no longer waiting; the jobs go on"
PACE = 0.25
"""Seconds between two states of it."""


def run(waiting: Wait, *, keep: bool = True) -> Progress:
    """Carry out a wait; on a page its progress is shown, and with ``keep`` how it ended stays there.

    Only the main thread shows: what other threads of a notebook wait for is their own affair. An interrupt ends the
    waiting and touches no job.
    """
    spot = output_cell() if threading.current_thread() is threading.main_thread() else None
    if spot is None:
        return waiting.run()
    return _Show(waiting, spot, keep=keep).run()


class _Show:
    """The progress of one wait in its place."""

    def __init__(self, waiting: Wait, spot: OutputCell, *, keep: bool) -> None:
        self._waiting = waiting
        self._spot = spot
        self._keep = keep
        self._shown = ""
        self._began = time.monotonic()

    def run(self) -> Progress:
        """Look until all are at rest."""
        due = self._began + FIRST
        progress = None
        try:
            for progress in self._waiting.poll():
                if time.monotonic() >= due:
                    self._write(progress)
                    due = time.monotonic() + PACE
        except KeyboardInterrupt as stop:
            self._end(progress, STOPPED)
            # IPython looks for this: where we waited tells nobody anything
            stop._render_traceback_ = lambda: [f"KeyboardInterrupt: {STOPPED}"]  # type: ignore[attr-defined]
            raise
        except BaseException:
            self._end(progress, "")
            raise
        assert progress is not None  # noqa: S101 - there is one look at least
        self._end(progress, "")
        return progress

    def _end(self, progress: Progress | None, why: str) -> None:
        from queuectl_nb.client.live_cards import _updater
        from queuectl_nb.render.durations import span

        with contextlib.suppress(QueuectlError):  # a job that was removed meanwhile
            if progress is not None and self._spot.shown:
                if self._keep:
                    self._write(progress, why or f"after {span(time.monotonic() - self._began)}")
                else:
                    self._spot.clear()
        _updater.refresh()

    def _write(self, progress: Progress, end: str = "") -> None:
        from queuectl_nb.client.live_cards import look
        from queuectl_nb.client.logs import Logs
        from queuectl_nb.render.live_cards import Live, wait_html, wait_text

        rested = {str(state): n for state, n in progress.finished.items()}
        record, live = None, Live()
        store, ids = self._waiting.store, self._waiting.ids
        if ids is not None and len(ids) == 1:
            record = store.jobs.get(ids[0])
            live = look(Logs(store), record, store.reader.attempts_without_output(ids[0]))
        html = wait_html(record, live, rested, progress.left, end)
        if html != self._shown:
            self._spot.write(html, wait_text(rested, progress.left, end))
            self._shown = html
