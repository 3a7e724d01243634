"""Prints Markdown with rich: coloured on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import sys
from textwrap import indent
from typing import TYPE_CHECKING, ClassVar

from rich import box
from rich.console import Console
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement, TableElement
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderResult

__all__ = ["print_markdown"]

MAX_WIDTH = 100
MIN_COLUMNS_TO_WRAP = 5
THEME = Theme({"markdown.code": "bold cyan", "markdown.h1": "bold", "markdown.h2": "bold"})


class _Heading(Heading):
    """Left-aligned; rich centers headings and frames the first one."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Code(CodeBlock):
    """Indented and never wrapped, so that it can be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(indent(str(self.text).rstrip(), "    "), no_wrap=True, overflow="ignore")


class _Table(TableElement):
    """Without a frame; the first column of a small table is not wrapped, unless it leaves no room for the others."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        titles = [] if self.header is None or self.header.row is None else [c.content for c in self.header.row.cells]
        shape = box.SIMPLE_HEAD if console.is_terminal else None
        table = Table(box=shape, show_header=any(title.plain for title in titles), pad_edge=False, padding=(0, 2, 0, 0))
        rows = [[cell.content for cell in row.cells] for row in ([] if self.body is None else self.body.rows)]
        first = max((row[0].cell_len for row in rows), default=0)
        keep = len(titles) < MIN_COLUMNS_TO_WRAP and first <= options.max_width * 2 // 3
        for index, title in enumerate(titles):
            table.add_column(title, no_wrap=keep and index == 0, overflow="fold")
        for row in rows:
            table.add_row(*row)
        yield table


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "table_open": _Table,
        "fence": _Code,
        "code_block": _Code,
    }


def print_markdown(text: str) -> None:
    """Print Markdown at the width of the terminal, at most :data:`MAX_WIDTH` columns."""
    plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
    console = Console(file=sys.stdout, highlight=False, theme=THEME, color_system=None if plain else "auto")
    console.width = MAX_WIDTH if not sys.stdout.isatty() else min(console.width, MAX_WIDTH)
    with console.capture() as capture:
        console.print(_Markdown(text), crop=False)  # a line of code may be longer
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in capture.get().strip("\n").splitlines()))
