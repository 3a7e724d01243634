"""Tables on a colour terminal, drawn by rich."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from queuectl_nb.render import text_table
from queuectl_nb.render.text_table import COLUMN_GAP, format_cell

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
UNWRAPPED = frozenset(("state", "attempts", "updated at", "due at", "started", "jobs done", "count", "key", "pid"))
"""Columns that are never wrapped; ids and commands share the remaining width."""
MIN_WRAPPED_WIDTH = 8


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; cells are never parsed as markup. A terminal that is too narrow gets plain text."""
    console = Console(file=sys.stdout, highlight=False)
    cells = [[format_cell(value) for value in row] for row in rows]
    if _min_width(titles, cells) > console.width:
        sys.stdout.write("".join(f"{line}\n" for line in text_table.table_lines(titles, cells)))
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=bool(titles), pad_edge=False)
    for title in titles or [""] * max(map(len, cells), default=0):
        table.add_column(title, no_wrap=_is_unwrapped(title), overflow="fold")
    for row in cells:
        table.add_row(*[Text(text, style=STYLES.get(text, "")) for text in row])
    console.print(table)


def _is_unwrapped(title: str) -> bool:
    return title.lower().partition(" (")[0] in UNWRAPPED  # without the zone of times


def _min_width(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """Return the width below which rich would truncate cells."""
    total = 0
    for index, title in enumerate(titles):
        widest = max(text_table.width(text) for text in (title, *(row[index] for row in cells)))
        total += COLUMN_GAP + (widest if _is_unwrapped(title) else min(widest, MIN_WRAPPED_WIDTH))
    return total
