"""Writes the output of a job, framed or raw, to a terminal or a pipe."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from queuectl_nb.render.ansi import RESET, AnsiFilter
from queuectl_nb.render.text_table import EMPTY, RULE, header_lines, status_lines, stream_heading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.commands.results import Output

__all__ = ["JobStream", "show_output"]


def show_output(output: Output) -> None:
    """Write the output as it arrives."""
    sys.stdout.flush()
    streams = {stream: JobStream(sys.stdout) for stream in output.streams}
    try:
        if output.with_header:
            _write_framed(output, streams)
        else:
            for stream, data in output.chunks():
                streams[stream].write(data)
    finally:
        for each in streams.values():
            each.close()


def _write_framed(output: Output, streams: Mapping[str, JobStream]) -> None:
    _write_lines(RULE, *header_lines(output.job_id, output.state, output.number, output.error), RULE)
    for stream in _write_pieces(output, streams):
        _write_lines(stream_heading(stream), EMPTY)
    _write_lines("", *_ending_lines(output), RULE)


def _write_pieces(output: Output, streams: Mapping[str, JobStream]) -> list[str]:
    """Write the pieces with a heading at each change of stream or attempt; return the streams without output."""
    empty = list(output.streams)
    current: tuple[int | None, str] | None = None
    for stream, data in output.chunks():
        number = output.attempts[-1] if output.attempts else None
        if (number, stream) != current:
            if current is not None:
                _end_line(streams[current[1]])
                if current[0] != number:
                    _write_lines(stream_heading(f"attempt {number}"))
            while not output.live and empty[0] != stream:
                _write_lines(stream_heading(empty.pop(0)), EMPTY)
            _write_lines(stream_heading(stream))
            empty = [each for each in empty if each != stream]
            current = (number, stream)
        streams[stream].write(data)
    if current is not None:
        _end_line(streams[current[1]])
    return empty


def _end_line(stream: JobStream) -> None:
    """Reset the colours and start a new line if the job left one unfinished."""
    stream.close()
    if not stream.at_line_start:
        _write_lines("")


def _write_lines(*lines: str) -> None:
    """Write lines of the frame; the bytes of the job come between them."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _ending_lines(output: Output) -> list[str]:
    """Return the final state of the job, if it changed while the output was followed."""
    if output.final_state is None:
        return []
    state, error = output.final_state()
    return [] if state == output.state else status_lines(state, error)


class JobStream:
    """One stream of a job: a pipe gets its bytes; a terminal its text and colours, no other escape sequences."""

    def __init__(self, file: TextIO, *, keep_returns: bool = False) -> None:
        self.file = file
        self.at_line_start = True
        self.filter: AnsiFilter | None = None
        if file.isatty():
            self.filter = AnsiFilter(keep_colours=not os.environ.get("NO_COLOR"), keep_returns=keep_returns)

    def write(self, data: bytes) -> None:
        """Write a piece of output."""
        if self.filter is not None:
            self._write_text(self.filter.feed(data))
            return
        self.file.buffer.write(data)
        self.file.flush()
        self.at_line_start = data.endswith(b"\n")

    def close(self) -> None:
        """Write buffered data and reset the colours; the stream can be written again."""
        if self.filter is not None:
            self._write_text(self.filter.close())

    def _write_text(self, text: str) -> None:
        if not text:
            return
        self.file.write(text)
        self.file.flush()
        if text != RESET:  # which does not move the cursor
            self.at_line_start = text.endswith("\n")
