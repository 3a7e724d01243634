"""What workers and pools tell whoever started them: JSON lines into a pipe, never waiting for a reader.

An event is an object with the key ``event`` and the facts of that kind; the faces turn it into words. A reader that
does not keep up loses events, never speed: the pipe is non-blocking, and how many were dropped is told later.
"""

from __future__ import annotations

import json
import os
from typing import Any

__all__ = ["Events"]


class Events:
    """The telling side."""

    def __init__(self, handle: int | None) -> None:
        """Write to ``handle``; None tells nobody."""
        self._handle = handle
        self._lines: list[str] = []
        self._dropped = 0
        if handle is not None:
            os.set_blocking(handle, False)

    @property
    def enabled(self) -> bool:
        """Whether anybody may listen; saves making what nobody reads."""
        return self._handle is not None

    def emit(self, event: str, **facts: Any) -> None:
        """Note an event; it goes out with the next :meth:`flush`."""
        if self._handle is not None:
            self._lines.append(json.dumps({"event": event, **facts}))

    def emit_line(self, line: str) -> None:
        """Note an event that is JSON already."""
        if self._handle is not None:
            self._lines.append(line)

    def flush(self) -> None:
        """Send what was noted. Each write stays whole beside those of other processes (below PIPE_BUF)."""
        if self._handle is None or not self._lines:
            self._lines.clear()
            return
        if self._dropped:
            self._lines.insert(0, json.dumps({"event": "dropped", "count": self._dropped}))
            self._dropped = 0
        for chunk in _chunks(self._lines):
            try:
                os.write(self._handle, chunk.encode())
            except BlockingIOError:
                self._dropped += chunk.count("\n")
            except OSError:
                self._handle = None
                break
        self._lines.clear()


def _chunks(lines: list[str]) -> list[str]:
    """Join lines into pieces that a pipe takes whole."""
    limit = 4096
    pieces: list[str] = []
    size = limit + 1
    for line in lines:
        if size + len(line) + 1 > limit:
            pieces.append("")
            size = 0
        pieces[-1] += line + "\n"
        size += len(line) + 1
    return pieces
