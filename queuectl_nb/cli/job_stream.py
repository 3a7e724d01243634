"""Writes the output of a job to one of our streams."""

from __future__ import annotations

import os
from typing import TextIO

from queuectl_nb.render.ansi import RESET, AnsiFilter

__all__ = ["JobStream"]


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
