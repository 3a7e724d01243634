"""Plain text for pipes and terminals: escaped hidden characters, local times, aligned tables, headers of logs."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

__all__ = [
    "COLUMN_GAP",
    "EMPTY",
    "LONG_COLUMNS",
    "RULE",
    "fit_terminal",
    "folded_lines",
    "format_cell",
    "header_lines",
    "heading",
    "local_time",
    "one_line",
    "status_lines",
    "stream_heading",
    "table_lines",
    "terminal_lines",
    "visible",
    "width",
    "zone_name",
]

RULE = "---------------------------------"
EMPTY = "(empty)"
"""Shown for a stream without output."""
COLUMN_GAP = 2
"""Terminal columns between two columns of a table."""
LONG_COLUMNS = ("command", "error")
"""Columns that are cut to one line on a terminal; ``show`` has the whole text."""
MIN_TEXT_WIDTH, MIN_COMMAND_WIDTH = 8, 30
"""The room that each of them has at least, and that a command has beside an id, which wraps then."""
MIN_OTHER_WIDTH = 30
"""Room that other columns have, if they need it, before times are shown on two lines."""

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


def fit_terminal(
    titles: Sequence[str], rows: Iterable[Sequence[object]], columns: int, *, fold_times: bool
) -> tuple[list[str], list[list[str]]]:
    """Return the titles and cells of a table for a terminal with this number of columns.

    In a list of jobs, commands and errors share the room that the other columns leave. With ``fold_times``, times have
    two lines where the table would be too wide otherwise.
    """
    names, cells = list(titles), [[format_cell(value) for value in row] for row in rows]
    if not (names and cells):
        return names, cells
    listed = "command" in map(str.lower, names)
    places = [index for index, title in enumerate(names) if listed and title.lower() in LONG_COLUMNS]
    least = MIN_COMMAND_WIDTH if len(places) == 1 and "ID" in names else MIN_TEXT_WIDTH
    needed = [least if index in places else MIN_OTHER_WIDTH for index in range(len(names))]
    gaps = COLUMN_GAP * len(names)
    if fold_times and gaps + sum(map(min, _widths(names, cells), needed)) > columns:
        for index in [index for index, title in enumerate(names) if title.endswith(f" ({zone_name()})")]:
            names[index] = names[index].replace(" (", "\n(")
            for row in cells:
                row[index] = row[index].replace(" ", "\n")
    widest = _widths(names, cells)
    room = columns - gaps - sum(each for index, each in enumerate(widest) if index not in places)
    limit = max([widest[place] for place in places], default=0)
    while limit > least and sum(min(limit, widest[place]) for place in places) > room:
        limit -= 1
    for row in cells:
        for place in places:
            if width(row[place]) > limit:
                row[place] = _cut(_EXIT_CODE.sub("", row[place]), limit)
    return names, cells


def _widths(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of the widest line of each column."""
    columns = zip(titles, *cells, strict=True)
    return [max(width(line) for text in column for line in text.split("\n")) for column in columns]


def _cut(text: str, limit: int) -> str:
    """Return ``text`` in at most ``limit`` terminal columns."""
    if width(text) <= limit:
        return text
    kept = text[: limit - 3]
    while width(kept) > limit - 3:
        kept = kept[:-1]
    return kept + "..."


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


def terminal_lines(titles: Sequence[str], rows: Sequence[Sequence[object]], columns: int) -> Iterator[str]:
    """Yield the lines of a table on a terminal with this number of columns, without colours."""
    names, cells = fit_terminal(titles, rows, columns, fold_times=False)
    if not names:
        return table_lines(names, cells)
    room = columns + COLUMN_GAP - sum(COLUMN_GAP + min(MAX_COLUMN_WIDTH, each) for each in _widths(names, cells))
    return table_lines(names, cells) if room >= 0 else folded_lines(titles, rows, columns)


def folded_lines(titles: Sequence[str], rows: Iterable[Sequence[object]], columns: int) -> Iterator[str]:
    r"""Yield the lines of a table that is wider than a terminal: its rows continue on indented lines.

    >>> print(*folded_lines(["ID", "State", "Command"], [["job-1", "pending", "python train.py"]], 17), sep="\n")
    ID     State
      Command
    job-1  pending
      python train.py
    """
    cells = [[format_cell(value) for value in row] for row in rows]
    if titles:
        cells.insert(0, list(titles))
    widths = [min(columns - COLUMN_GAP, max(map(width, column))) for column in zip(*cells, strict=True)]
    groups, used = list[list[int]](), columns
    for index, each in enumerate(widths):
        if used + COLUMN_GAP + each > columns:
            groups.append([])
            used = 0 if groups[1:] else -COLUMN_GAP  # the first line has no indent
        groups[-1].append(index)
        used += COLUMN_GAP + each
    for row in cells:
        for group in groups:
            indent = "" if group is groups[0] else " " * COLUMN_GAP
            text = "  ".join(row[index] + " " * (widths[index] - width(row[index])) for index in group)
            if titles and titles[group[0]].lower() in LONG_COLUMNS:
                text = _cut(text.rstrip(), columns - COLUMN_GAP)
            yield from (indent + line for line in textwrap.wrap(text, columns - len(indent)) or [""])


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
