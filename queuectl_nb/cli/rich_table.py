"""Tables on a colour terminal, drawn by rich."""

from __future__ import annotations

import sys
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from queuectl_nb.render import text_table
from queuectl_nb.render.text_table import format_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["print_table"]

STYLES = {
    "completed": "green",
    "dead": "bold red",
    "failed": "red",
    "processing": "cyan",
    "cancelled": "bright_black",
    "blocked": "magenta",
    "lost": "bold red",
    "wrong": "bold red",
    "ok": "green",
}
UNWRAPPED = frozenset(("state", "attempts", "updated at", "updated_at", "started", "jobs done", "count", "key", "pid"))
"""Columns that are never wrapped; ids and commands share the remaining width."""
COLUMN_GAP = 3
MIN_WRAPPED_WIDTH = 8
MAX_COMMAND_LENGTH = 200
"""Long scripts are cut on a terminal, so that they do not push other jobs off the screen."""


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; cells are never parsed as markup. A terminal that is too narrow gets plain text."""
    console = Console(file=sys.stdout, highlight=False)
    cells = [[format_cell(value) for value in row] for row in rows]
    if _min_width(titles, cells) > console.width:
        sys.stdout.write("".join(f"{line}\n" for line in text_table.table_lines(titles, cells)))
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=bool(titles), pad_edge=False)
    for title in titles or [""] * max(map(len, cells), default=0):
        table.add_column(title, no_wrap=title.lower() in UNWRAPPED, overflow="fold")
    for row in cells:
        texts = [_shorten(text, title) for text, title in zip_longest(row, titles[: len(row)])]
        table.add_row(*[Text(text, style=STYLES.get(text, "")) for text in texts])
    console.print(table)


def _shorten(text: str, title: str | None) -> str:
    """Cut a long command."""
    long = title is not None and title.lower() == "command" and len(text) > MAX_COMMAND_LENGTH
    return text[:MAX_COMMAND_LENGTH] + "..." if long else text


def _min_width(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """Return the width below which rich would truncate cells."""
    total = 0
    for index, title in enumerate(titles):
        widest = max(text_table.width(text) for text in (title, *(row[index] for row in cells)))
        total += COLUMN_GAP + (widest if title.lower() in UNWRAPPED else min(widest, MIN_WRAPPED_WIDTH))
    return total
