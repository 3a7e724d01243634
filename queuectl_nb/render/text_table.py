"""Plain text for pipes and terminals: escaped hidden characters, and aligned tables."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["COLUMN_GAP", "format_cell", "one_line", "shorten_commands", "table_lines", "visible", "width"]

COLUMN_GAP = 3
"""Terminal columns between two columns of a table, at most."""
MIN_COMMAND_WIDTH = 25
"""A command is not cut to less, however long ids and errors are."""

MAX_COLUMN_WIDTH = 60
"""Longer cells are not truncated, but break the alignment of their row."""

MAX_MESSAGE_CHARS = 1000
"""Maximum length of an error message; arguments and paths in it can have megabytes."""

_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escapes, CR, newlines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    "\u2028\u2029\ufeff\u200b\u2060"  # line separators and zero-width characters
    "\U000e0000-\U000e007f"  # tags
    "\ud800-\udfff"  # surrogates: bytes that were not valid UTF-8
    "]"
)


def visible(text: str) -> str:
    r"""Return ``text`` with control and invisible characters shown as escapes.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _HIDDEN.sub(lambda match: ascii(match[0])[1:-1], text)


def one_line(message: str) -> str:
    """Return an error message on one line, without the middle if it is long: the end names the valid choices."""
    if len(message) > MAX_MESSAGE_CHARS:
        half = MAX_MESSAGE_CHARS // 2
        message = f"{message[:half]} ... {message[-half:]}"
    return visible(message)


def format_cell(value: object) -> str:
    """Return the text of a value, on one line without hidden characters."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return visible(", ".join(map(str, value)))
    return visible(str(value))


def width(text: str) -> int:
    """Return the width of ``text`` in terminal columns."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def shorten_commands(titles: Sequence[str], rows: Iterable[Sequence[object]], columns: int) -> list[list[str]]:
    """Return the cells of a table for a terminal; a command gets the room that the others leave, on one line."""
    cells = [[format_cell(value) for value in row] for row in rows]
    place = next((index for index, title in enumerate(titles) if title.lower() == "command"), None)
    if place is not None and cells:
        widest = [max(width(text) for text in column) for column in zip(titles, *cells, strict=True)]
        room = max(MIN_COMMAND_WIDTH, columns - sum(widest[:place] + widest[place + 1 :]) - COLUMN_GAP * len(titles))
        for row in cells:
            row[place] = row[place] if width(row[place]) <= room else row[place][: room - 3] + "..."
    return cells


def table_lines(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of an aligned table; ``titles`` may be empty."""
    cells = [[format_cell(value) for value in row] for row in rows]
    if titles:
        cells.insert(0, list(titles))
    if not cells:
        return
    widths = [min(MAX_COLUMN_WIDTH, max(width(row[column]) for row in cells)) for column in range(len(cells[0]))]
    for row in cells:
        padded = [text + " " * (column_width - width(text)) for text, column_width in zip(row, widths, strict=True)]
        yield "  ".join(padded).rstrip()
