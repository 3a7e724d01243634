"""Source lines of functions that are pickled by value, so that tracebacks in jobs show them."""

from __future__ import annotations

import linecache
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType

__all__ = ["SourceCollector"]

MAX_CHARS = 64 * 1024
"""Lines of one pickle beyond this are left out."""


class SourceCollector:
    """Collects the source lines of code objects; ``lines`` has them by name of the file and number of the line."""

    def __init__(self) -> None:
        self.lines: dict[str, dict[int, str]] = {}
        self._files: dict[str, str] = {}
        self._size = 0

    def add(self, code: CodeType) -> str:
        """Collect the lines of ``code``, as far as they are known; return the name of its file for tracebacks."""
        file = code.co_filename
        name = _cell_name(file) or file
        if name not in self._files:
            linecache.checkcache(file)
        if self._files.setdefault(name, file) != file:
            name = file  # after %reset, cells are numbered from 1 again
        lines = linecache.getlines(file)
        ends = [end for _, end, _, _ in code.co_positions() if end is not None]
        part = dict(enumerate(lines[code.co_firstlineno - 1 : max(ends, default=0)], code.co_firstlineno))
        self._size += sum(map(len, part.values()))
        if part and self._size <= MAX_CHARS:
            self.lines.setdefault(name, {}).update(part)
        return name


def _cell_name(file: str) -> str | None:
    """Return ``Cell In[3]`` for the file of a cell, as the notebook's own tracebacks call it."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    cell = None if shell is None else shell.compile.format_code_name(file)
    return None if cell is None else " ".join(cell)
