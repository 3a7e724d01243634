"""Plain text for pipes and terminals: escaped hidden characters, local times, aligned tables, headers of logs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

__all__ = [
    "COLUMN_GAP",
    "EMPTY",
    "RULE",
    "format_cell",
    "header_lines",
    "heading",
    "local_time",
    "one_line",
    "shorten_texts",
    "status_lines",
    "stream_heading",
    "table_lines",
    "visible",
    "width",
    "zone_name",
]

RULE = "---------------------------------"
EMPTY = "(empty)"
"""Shown for a stream without output."""
COLUMN_GAP = 3
"""Terminal columns between two columns of a table, at most."""
LONG_COLUMNS = ("command", "error")
"""Columns that are cut to one line on a terminal; ``show`` has the whole text."""
MIN_TEXT_WIDTH = 30
"""The room that they share at least, however long ids are."""

_EXIT_CODE = re.compile(r"\Aexit code \d+: ")
"""The uninformative beginning of a long error."""

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


def heading(title: str) -> str:
    """Return the title of a column as it is on a terminal.

    >>> heading("updated_at (UTC)"), heading("pid"), heading("Due At")
    ('Updated At (UTC)', 'PID', 'Due At')
    """
    name, bracket, zone = title.replace("_", " ").partition(" (")
    known = {"id": "ID", "pid": "PID"}
    return title if title[:1].isupper() else known.get(name, name.title()) + bracket + zone


def shorten_texts(titles: Sequence[str], rows: Iterable[Sequence[object]], columns: int) -> list[list[str]]:
    """Return the cells of a list of jobs for a terminal: commands and errors share the room that the others leave."""
    cells = [[format_cell(value) for value in row] for row in rows]
    places = [index for index, title in enumerate(titles) if title.lower() in LONG_COLUMNS]
    if cells and "command" in map(str.lower, titles):
        widest = [max(width(text) for text in column) for column in zip(titles, *cells, strict=True)]
        others = sum(each for index, each in enumerate(widest) if index not in places)
        room, limit = columns - others - COLUMN_GAP * len(titles), max(widest[place] for place in places)
        while limit > MIN_TEXT_WIDTH // len(places) and sum(min(limit, widest[place]) for place in places) > room:
            limit -= 1
        for row in cells:
            for place in places:
                if width(row[place]) > limit:
                    row[place] = _EXIT_CODE.sub("", row[place])
                row[place] = row[place] if width(row[place]) <= limit else row[place][: limit - 3] + "..."
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


def zone_name() -> str:
    """Return the name of the current local zone, such as ``CET``."""
    return datetime.now().astimezone().tzname() or "local time"


def local_time(iso: str | None) -> str | None:
    """Return a time in JSON as local date and time, all of them in the zone that :func:`zone_name` returns."""
    zone = datetime.now().astimezone().tzinfo
    return None if iso is None else f"{datetime.fromisoformat(iso).astimezone(zone):%Y-%m-%d %H:%M:%S}"


def header_lines(job_id: str, state: str, number: int | None = None, error: str | None = None) -> list[str]:
    """Return the lines between the first two rules; ``number`` is the attempt, if one was requested.

    >>> header_lines("a", "dead", error="exit code 3")
    ['Logs for Job: a', 'State: dead', 'Error: exit code 3']
    """
    state_line, *error_line = status_lines(state, error)
    return [f"Logs for Job: {job_id}", state_line, *([] if number is None else [f"Attempt: {number}"]), *error_line]


def status_lines(state: str, error: str | None) -> list[str]:
    """Return state and error."""
    return [f"State: {state}", *([] if error is None else [f"Error: {visible(error)}"])]


def stream_heading(name: str) -> str:
    """Return the heading of a stream, after an empty line."""
    return f"\n--- {name.upper()} ---"
