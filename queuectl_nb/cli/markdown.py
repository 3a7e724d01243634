"""Markdown as text: with rich, in colour on a terminal that may have it, plain elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar

from rich import box
from rich.console import Console
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement, TableElement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderResult

__all__ = ["show_prose"]

WIDEST = 100
THEME = Theme({"markdown.code": "bold cyan", "markdown.h1": "bold", "markdown.h2": "bold"})


class _Heading(Heading):
    """A heading at the left edge: rich puts it into the middle, and the first into a frame."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Code(CodeBlock):
    """Code as it is, indented."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Padding(Text(str(self.text).rstrip(), no_wrap=True, overflow="ignore"), (0, 0, 0, 4))


class _Table(TableElement):
    """A table without a frame; the head is underlined where there is one."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        titles = [] if self.header is None or self.header.row is None else [c.content for c in self.header.row.cells]
        shape = box.SIMPLE_HEAD if console.is_terminal else None
        table = Table(box=shape, show_header=any(title.plain for title in titles), pad_edge=False, padding=(0, 2, 0, 0))
        for place, title in enumerate(titles):
            table.add_column(title, no_wrap=not place and len(titles) < 5, overflow="fold")
        for row in [] if self.body is None else self.body.rows:
            table.add_row(*[cell.content for cell in row.cells])
        yield table


class _Prose(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "table_open": _Table,
        "fence": _Code,
        "code_block": _Code,
    }


def show_prose(text: str) -> None:
    """Print Markdown, as wide as the terminal and at most :data:`WIDEST` columns."""
    plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
    console = Console(file=sys.stdout, highlight=False, theme=THEME, color_system=None if plain else "auto")
    console.width = WIDEST if not sys.stdout.isatty() else min(console.width, WIDEST)
    with console.capture() as taken:
        console.print(_Prose(text))
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in taken.get().strip("\n").splitlines()))
