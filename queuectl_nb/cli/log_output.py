"""Writes the output of a job, framed or raw, to a terminal or a pipe."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from queuectl_nb.render.ansi import RESET, AnsiFilter
from queuectl_nb.render.log_header import EMPTY, RULE, header_lines, status_lines, stream_heading

if TYPE_CHECKING:
    from queuectl_nb.commands.results import Output

__all__ = ["show_output"]


def show_output(output: Output) -> None:
    """Write the output as it arrives."""
    writer = _Writer()
    try:
        if output.with_header:
            _write_framed(output, writer)
        else:
            for stream, data in output.chunks():
                writer.write_data(stream, data)
    finally:
        writer.close()


class _Writer:
    """Writes the unchanged bytes to a pipe; text and colours, without other escape sequences, to a terminal."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self.filters: dict[str, AnsiFilter] = {}
        self.at_line_start = True
        sys.stdout.flush()

    def write_line(self, text: str) -> None:
        """Write a line of the frame."""
        self._write(f"{text}\n" if self.is_terminal else f"{text}\n".encode())

    def write_data(self, stream: str, data: bytes) -> None:
        """Write a piece of a stream."""
        if self.is_terminal and stream not in self.filters:
            self.filters[stream] = AnsiFilter(keep_colours=not os.environ.get("NO_COLOR"))
        self._write(self.filters[stream].feed(data) if self.is_terminal else data)

    def end_line(self) -> None:
        """Reset the colours and start a new line if the job left one unfinished."""
        self.close()
        if not self.at_line_start:
            self.write_line("")

    def close(self) -> None:
        """Write buffered data and reset the colours."""
        for each in self.filters.values():
            self._write(each.close())

    def _write(self, output: str | bytes) -> None:
        if isinstance(output, bytes):
            sys.stdout.buffer.write(output)
            self.at_line_start = output.endswith(b"\n")
        elif output:
            sys.stdout.write(output)
            if output != RESET:  # which does not move the cursor
                self.at_line_start = output.endswith("\n")
        sys.stdout.flush()


def _write_framed(output: Output, writer: _Writer) -> None:
    writer.write_line(RULE)
    for line in header_lines(output.job_id, output.state, output.number, output.error):
        writer.write_line(line)
    writer.write_line(RULE)
    for stream in _write_pieces(output, writer):
        _write_empty(writer, stream)
    writer.write_line("")
    for line in _ending_lines(output):
        writer.write_line(line)
    writer.write_line(RULE)


def _write_pieces(output: Output, writer: _Writer) -> list[str]:
    """Write the pieces with a heading at each change of stream or attempt; return the streams without output."""
    empty = list(output.streams)
    current: tuple[int | None, str] | None = None
    for stream, data in output.chunks():
        number = output.attempts[-1] if output.attempts else None
        if (number, stream) != current:
            if current is not None:
                writer.end_line()
                if current[0] != number:
                    writer.write_line(stream_heading(f"attempt {number}"))
            while not output.live and empty[0] != stream:
                _write_empty(writer, empty.pop(0))
            writer.write_line(stream_heading(stream))
            empty = [each for each in empty if each != stream]
            current = (number, stream)
        writer.write_data(stream, data)
    if current is not None:
        writer.end_line()
    return empty


def _write_empty(writer: _Writer, stream: str) -> None:
    writer.write_line(stream_heading(stream))
    writer.write_line(EMPTY)


def _ending_lines(output: Output) -> list[str]:
    """Return the final state of the job, if it changed while the output was followed."""
    if output.final_state is None:
        return []
    state, error = output.final_state()
    return [] if state == output.state else status_lines(state, error)
