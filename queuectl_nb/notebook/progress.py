"""While a cell runs: the progress of a wait, a log as it is written. An interrupt ends only the looking.

On a notebook's page the queue shows a wait by itself; here is the bar of text for IPython in a terminal.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from queuectl_nb.client import display
from queuectl_nb.client.display import new_output_cell
from queuectl_nb.notebook.errors import one_line
from queuectl_nb.render.colours import Colours
from queuectl_nb.render.live_cards import blocks, wait_text

if TYPE_CHECKING:
    from queuectl_nb.client.wait import Progress
    from queuectl_nb.commands.results import Output, PendingWait

__all__ = ["follow", "wait"]

PACE = 0.2
"""Least seconds between two states of a progress line."""


def wait(result: PendingWait) -> Progress:
    """Carry out a wait with its progress in sight, and say how it ended."""
    try:
        progress = display.run_with_progress(result.wait, keep=False) if new_output_cell() else _on_a_line(result)
    except KeyboardInterrupt as stop:
        raise one_line(stop, "the wait was interrupted; the jobs go on") from None
    sys.stdout.write("".join(f"{text}\n" for text in result.lines(progress)))
    sys.stdout.flush()
    return progress


def _on_a_line(result: PendingWait) -> Progress:
    line = _ProgressLine()
    try:
        return result.wait.run(line.show)
    finally:
        line.clear()


class _ProgressLine:
    """A bar of text on stdout: a line that begins with a carriage return is written over."""

    def __init__(self) -> None:
        self._shown = ""
        self._next = 0.0

    def show(self, progress: Progress) -> None:
        """Show how far a wait has come, not too often."""
        now = time.monotonic()
        if now < self._next or not progress.remaining:
            return
        self._next = now + PACE
        total = progress.finished_count + progress.remaining
        states = {str(state): n for state, n in progress.finished.items()}
        self._write(f"{blocks(progress.finished_count / total)} {wait_text(states, progress.remaining)}")

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._write("")
            sys.stdout.write("\r")
            sys.stdout.flush()

    def _write(self, text: str) -> None:
        sys.stdout.write("\r" + text.ljust(len(self._shown)))
        sys.stdout.flush()
        self._shown = text


def follow(output: Output) -> None:
    """Write a job's output into the cell as it comes, each stream to its own, until the job is at rest."""
    colours = {stream: Colours(returns=True) for stream in output.streams}
    pages = {"stdout": sys.stdout, "stderr": sys.stderr}
    try:
        for stream, piece in output.chunks():
            pages[stream].write(colours[stream].feed(piece))
            pages[stream].flush()
    except KeyboardInterrupt as stop:
        raise one_line(stop, f"no longer following; job {output.job_id} goes on") from None
    finally:
        for stream, each in colours.items():
            pages[stream].write(each.close())
