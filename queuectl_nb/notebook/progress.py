"""Output while a cell runs: the progress of a wait, and a log as it is written. An interrupt stops only the display.

On a page the client displays waits as cards; IPython in a terminal gets the text bar of this module.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from queuectl_nb.client import display
from queuectl_nb.client.display import new_output_cell
from queuectl_nb.notebook.errors import one_line
from queuectl_nb.render.ansi import AnsiFilter
from queuectl_nb.render.live_cards import text_bar, wait_text

if TYPE_CHECKING:
    from queuectl_nb.client.wait import Progress
    from queuectl_nb.commands.results import Output, PendingWait

__all__ = ["follow", "wait"]

UPDATE_INTERVAL_S = 0.2


def wait(result: PendingWait) -> Progress:
    """Wait with visible progress, and print the result."""
    try:
        progress = (
            display.run_with_progress(result.wait, keep=False) if new_output_cell() else _wait_in_terminal(result)
        )
    except KeyboardInterrupt as error:
        raise one_line(error, display.INTERRUPTED_TEXT) from None
    sys.stdout.write("".join(f"{text}\n" for text in result.lines(progress)))
    sys.stdout.flush()
    return progress


def _wait_in_terminal(result: PendingWait) -> Progress:
    line = _ProgressLine()
    try:
        return result.wait.run(line.show)
    finally:
        line.clear()


class _ProgressLine:
    """A text bar on stdout that overwrites itself."""

    def __init__(self) -> None:
        self._text = ""
        self._next_update_at = 0.0

    def show(self, progress: Progress) -> None:
        """Show the progress, at most every ``UPDATE_INTERVAL_S``."""
        now = time.monotonic()
        if now < self._next_update_at or not progress.remaining:
            return
        self._next_update_at = now + UPDATE_INTERVAL_S
        total = progress.finished_count + progress.remaining
        states = {str(state): n for state, n in progress.finished.items()}
        self._write(f"{text_bar(progress.finished_count / total)} {wait_text(states, progress.remaining)}")

    def clear(self) -> None:
        """Erase the line."""
        if self._text:
            self._write("")
            sys.stdout.write("\r")
            sys.stdout.flush()

    def _write(self, text: str) -> None:
        sys.stdout.write("\r" + text.ljust(len(self._text)))
        sys.stdout.flush()
        self._text = text


def follow(output: Output) -> None:
    """Write a job's output into the cell as it arrives, until the job finishes."""
    filters = {stream: AnsiFilter(keep_returns=True) for stream in output.streams}
    files = {"stdout": sys.stdout, "stderr": sys.stderr}
    try:
        for stream, chunk in output.chunks():
            files[stream].write(filters[stream].feed(chunk))
            files[stream].flush()
    except KeyboardInterrupt as error:
        raise one_line(error, f"stopped following; job {output.job_id} continues") from None
    finally:
        for stream, ansi in filters.items():
            files[stream].write(ansi.close())
