"""Tables on a terminal: rich's, with states in colour. Imported only where a terminal takes colours."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from queuectl_nb.forms.plain import cell

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


def show_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; cells are text as it is, never markup."""
    console = Console(file=sys.stdout, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, show_header=bool(titles), pad_edge=False)
    made = False
    for row in rows:
        if not made:
            _columns(table, titles or [""] * len(row))
            made = True
        texts = [cell(value) for value in row]
        table.add_row(*[Text(text, style=STYLES.get(text, "")) for text in texts])
    if not made:
        _columns(table, titles)
    console.print(table)


def _columns(table: Table, titles: Sequence[str]) -> None:
    for title in titles:
        whole = title.lower() in ("id", "state", "attempts", "updated at", "updated_at")
        table.add_column(title, no_wrap=whole, overflow="fold")
