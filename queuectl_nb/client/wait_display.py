"""The progress of a wait: in an output of a notebook, or in a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING

from queuectl_nb.client.arguments import parse_timeout
from queuectl_nb.client.wait import Wait
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.render.output_cell import new_output_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.queue_data import QueueData
    from queuectl_nb.client.wait import Progress
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.render.output_cell import OutputCell

__all__ = ["INTERRUPTED_TEXT", "progress_bar", "run_with_progress", "wait_for_job"]

SHOW_AFTER_S = 0.3
"""Shorter waits show nothing."""
INTERRUPTED_TEXT = "no longer waiting; the jobs continue"
ETA_INTERVAL_S = 2.0
"""Interval at which the time left is estimated."""
REDRAW_INTERVAL_S = 0.25
"""Minimum interval between two updates."""


def run_with_progress(wait: Wait, *, keep: bool = True) -> Progress:
    """Run a wait; in a notebook show its progress, and with ``keep`` leave the result there.

    Only waits of the main thread are shown. An interrupt ends the wait and does not affect the jobs.
    """
    cell = new_output_cell() if threading.current_thread() is threading.main_thread() else None
    if cell is None:
        return wait.run()
    return _WaitDisplay(wait, cell, keep=keep).run()


def wait_for_job(queue: QueueData, job_id: str, timeout: float | str | None) -> JobRecord:
    """Wait until a job has finished and return it; in a notebook show the progress."""
    waiting = Wait(queue, [job_id], parse_timeout(timeout))
    run_with_progress(waiting)
    return waiting.record or queue.store.jobs.get(job_id)


class _WaitDisplay:
    """Shows the progress of one wait in an output."""

    def __init__(self, wait: Wait, cell: OutputCell, *, keep: bool) -> None:
        self._wait = wait
        self._cell = cell
        self._keep = keep
        self._shown = ""
        self._began = time.monotonic()

    def run(self) -> Progress:
        """Run the wait to its end."""
        due = self._began + SHOW_AFTER_S
        progress = None
        try:
            for progress in self._wait.poll():
                if time.monotonic() >= due:
                    self._write(progress)
                    due = time.monotonic() + REDRAW_INTERVAL_S
        except KeyboardInterrupt as stop:
            self._finish(progress, INTERRUPTED_TEXT)
            # IPython calls this; a traceback into the wait loop would not help
            stop._render_traceback_ = lambda: [f"KeyboardInterrupt: {INTERRUPTED_TEXT}"]  # type: ignore[attr-defined]
            raise
        except BaseException:
            self._finish(progress, "")
            raise
        assert progress is not None  # poll yields at least once
        self._finish(progress, "")
        return progress

    def _finish(self, progress: Progress | None, why: str) -> None:
        from queuectl_nb.client.live_cards import card_updater
        from queuectl_nb.render.progress import format_duration

        with contextlib.suppress(QueuectlError):  # a job that was deleted meanwhile
            if progress is not None and self._cell.shown:
                if self._keep:
                    self._write(progress, why or f"after {format_duration(time.monotonic() - self._began)}")
                else:
                    self._cell.clear()
        card_updater.refresh()

    def _write(self, progress: Progress, end: str = "") -> None:
        from queuectl_nb.client.job_card import read_live
        from queuectl_nb.render.cards import wait_card

        finished = {str(state): n for state, n in progress.finished.items()}
        record = live = None
        store, ids = self._wait.store, self._wait.ids
        if ids is not None and len(ids) == 1:
            record = store.jobs.get(ids[0])
            live = read_live(store, record, store.reader.attempts_without_output(ids[0]))
        card = wait_card(record, live, finished, progress.remaining, end)
        if card.html != self._shown:
            self._cell.write(*card)
            self._shown = card.html


@contextlib.contextmanager
def progress_bar(wait: Wait) -> Iterator[Callable[[Progress], None]]:
    """Show a progress bar of a wait on stderr if it is a terminal; yield the function that updates it."""
    from rich import progress
    from rich.console import Console

    from queuectl_nb.client.eta import read_eta
    from queuectl_nb.store.job_filter import Filter

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.fields[eta]}", markup=False),
    )
    with progress.Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("waiting", total=None, eta="")
        selected = None if wait.ids is None else Filter(ids=tuple(wait.ids))
        due = 0.0

        def update(now: Progress) -> None:
            nonlocal due
            if time.monotonic() >= due:
                bar.update(task, eta=str(read_eta(wait.store, selected)))
                due = time.monotonic() + ETA_INTERVAL_S
            bad = f", {len(now.failed_ids)} not completed" if now.failed_ids else ""
            done, left = now.finished_count, now.remaining
            bar.update(task, completed=done, total=done + left, description=f"{left} unfinished{bad}")

        yield update
