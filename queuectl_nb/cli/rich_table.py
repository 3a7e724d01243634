"""Tables on a terminal: rich's, with states in colour. Imported only where a terminal takes colours."""

from __future__ import annotations

import sys
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from queuectl_nb.render import text_table
from queuectl_nb.render.text_table import cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["show_table"]

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


WHOLE = frozenset(("state", "attempts", "updated at", "updated_at", "started", "jobs done", "count", "key", "pid"))
"""Columns that are never broken; ids and commands share what room the others leave."""
GAP = 3
LEAST = 8
"""Characters between columns, and those that a broken column needs to be read at all."""


LONGEST = 200
"""Characters of a command on a terminal, where a script of many lines would push the other jobs away."""


def show_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; cells are text as it is, never markup. Where it would lose some, it comes as plain text."""
    console = Console(file=sys.stdout, highlight=False)
    cells = [[cell(value) for value in row] for row in rows]
    if _needs(titles, cells) > console.width:
        sys.stdout.write("".join(f"{line}\n" for line in text_table.table(titles, cells)))
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=bool(titles), pad_edge=False)
    cells = [[_short(text, title) for text, title in zip_longest(row, titles[: len(row)])] for row in cells]
    for title in titles or [""] * max(map(len, cells), default=0):
        table.add_column(title, no_wrap=title.lower() in WHOLE, overflow="fold")
    for row in cells:
        table.add_row(*[Text(text, style=STYLES.get(text, "")) for text in row])
    console.print(table)


def _short(text: str, title: str | None) -> str:
    """Return a command's beginning; ``show`` and a pipe have all of it."""
    long = title is not None and title.lower() == "command" and len(text) > LONGEST
    return text[:LONGEST] + "..." if long else text


def _needs(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """Return the width below which columns would lose text."""
    needs = 0
    for number, title in enumerate(titles):
        widest = max(text_table.width(text) for text in (title, *(row[number] for row in cells)))
        needs += GAP + (widest if title.lower() in WHOLE else min(widest, LEAST))
    return needs
