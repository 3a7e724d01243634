"""What a job wrote, on a terminal or into a pipe, in the frame that people know or bare."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from queuectl_nb.render.colours import RESET, Colours
from queuectl_nb.render.log_header import EMPTY, RULE, ending, heading, opening

if TYPE_CHECKING:
    from queuectl_nb.commands.results import Output

__all__ = ["show_output"]


def show_output(output: Output) -> int:
    """Write the pieces as they come; a pipe gets the job's own bytes, a terminal text and colours."""
    page = _Terminal() if sys.stdout.isatty() else _Pipe()
    try:
        if output.with_header:
            _framed(output, page)
        else:
            for stream, data in output.chunks():
                page.data(stream, data)
    finally:
        page.close()
    return 0


class _Pipe:
    """Raw bytes."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self.out = sys.stdout.buffer
        self.at_start = True

    def text(self, text: str) -> None:
        """Write a line of ours."""
        self.out.write(text.encode() + b"\n")
        self.out.flush()
        self.at_start = True

    def data(self, stream: str, data: bytes) -> None:
        """Write a piece of a stream."""
        self.out.write(data)
        self.out.flush()
        self.at_start = data.endswith(b"\n")

    def fresh_line(self) -> None:
        """End a line that the job left open."""
        if not self.at_start:
            self.text("")

    def close(self) -> None:
        """Write what is held back."""


class _Terminal(_Pipe):
    """Text with colours and no other escape."""

    def __init__(self) -> None:
        super().__init__()
        self.colours: dict[str, Colours] = {}

    def text(self, text: str) -> None:
        """Write a line of ours."""
        self._put(text + "\n")

    def data(self, stream: str, data: bytes) -> None:
        """Write a piece of a stream."""
        if stream not in self.colours:
            self.colours[stream] = Colours(keep=not os.environ.get("NO_COLOR"))
        self._put(self.colours[stream].feed(data))

    def fresh_line(self) -> None:
        """End the line and the colours that the job left open."""
        self.close()
        super().fresh_line()

    def close(self) -> None:
        """Write what is held back, and go back to the terminal's own colour."""
        for colours in self.colours.values():
            self._put(colours.close())

    def _put(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
            # the end of the colours moves nothing
            self.at_start = text.endswith("\n") if text != RESET else self.at_start


def _framed(output: Output, page: _Pipe) -> None:
    """Write the pieces under their headings; those of a live log change between the streams."""
    page.text(RULE)
    for line in opening(output.job_id, output.state, output.number, output.error):
        page.text(line)
    page.text(RULE)
    for stream in _pieces(output, page):
        _say_empty(page, stream)
    page.text("")
    for line in _news(output):
        page.text(line)
    page.text(RULE)


def _pieces(output: Output, page: _Pipe) -> list[str]:
    """Write the pieces as they come, a heading before each change; return the streams of which there were none."""
    silent = list(output.streams)
    place: tuple[int | None, str] | None = None
    for stream, data in output.chunks():
        number = output.attempts[-1] if output.attempts else None
        if (number, stream) != place:
            if place is not None:
                page.fresh_line()
                if place[0] != number:
                    page.text(heading(f"attempt {number}"))
            while not output.live and silent[0] != stream:
                _say_empty(page, silent.pop(0))
            page.text(heading(stream))
            silent = [each for each in silent if each != stream]
            place = (number, stream)
        page.data(stream, data)
    if place is not None:
        page.fresh_line()
    return silent


def _say_empty(page: _Pipe, stream: str) -> None:
    page.text(heading(stream))
    page.text(EMPTY)


def _news(output: Output) -> list[str]:
    """Return how the job ended, where that was not said at the beginning."""
    if output.final_state is None:
        return []
    state, error = output.final_state()
    return [] if state == output.state else ending(state, error)
