"""The man page: the commands with their options, then the topics, as roff."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
from markdown_it import MarkdownIt

from docs.generate.cli import walk
from queuectl_nb import __version__
from queuectl_nb.commands.app import root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markdown_it.token import Token

__all__ = ["page"]

COMMON = {"--help", "--db", "--format", "--json"}
"""Options that are told once for all commands."""
HEADS = (".SH", ".SS")
PLAIN = {"meaning", "valid", "what it is", ""}
"""Titles of a last column that say nothing."""


def page(topics: Mapping[str, str]) -> str:
    """Return the page; ``topics`` are Markdown texts by name."""
    lines = [
        '.\\" Made by python -m docs.generate',
        f'.TH QUEUECTL 1 "" "queuectl {__version__}" "User Commands"',
        ".SH NAME",
        "queuectl \\- run commands in the background: nothing lost, nothing run twice, everything visible",
        ".SH SYNOPSIS",
        ".B queuectl",
        "[\\fB\\-\\-db\\fR \\fIPATH\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(
            "queuectl keeps jobs in one SQLite file. Workers run them, retry them when they fail, and record what came "
            "of them. A terminal, a notebook and a script that name the same file see the same queue."
        ),
        ".SH OPTIONS",
        *_options(),
        ".SH COMMANDS",
        *_commands(),
    ]
    for text in topics.values():
        lines += _topic(text)
    # a heading begins a paragraph itself
    kept = [line for before, line in zip(["", *lines], lines, strict=False) if line != ".PP" or before[:3] not in HEADS]
    return "\n".join(kept) + "\n"


def _options() -> Iterator[str]:
    """Yield the options that go before a command, and those that nearly all commands have."""
    _, root_context = next(walk())
    (status, inner) = next(pair for pair in walk() if pair[0].name == "status")
    shapes = [param for param in status.get_params(inner) if COMMON & {*param.opts} and param.opts[0] != "--db"]
    told = [*root.get_params(root_context), *(param for param in shapes if param.opts[0] != "-h")]
    for param in told:
        record = param.get_help_record(root_context)
        if record is not None:
            yield from (".TP", f"\\fB{_escaped(record[0])}\\fR", _line(record[1]))
    yield from _paragraphs("--db, --format and --json go after every command that shows data.")


def _commands() -> Iterator[str]:
    for command, context in walk():
        if context.parent is None or isinstance(command, click.Group):
            continue
        usage = " ".join(command.collect_usage_pieces(context))
        yield f".SS {_escaped(context.command_path + ' ' + usage)}"
        yield from _paragraphs(*_help(command))
        for param in command.get_params(context):
            record = param.get_help_record(context)
            if isinstance(param, click.Option) and record is not None and not COMMON & {*param.opts}:
                yield ".TP"
                yield f"\\fB{_escaped(record[0])}\\fR"
                yield _line(record[1])


def _help(command: click.Command) -> list[str]:
    """Return the paragraphs of a command's help; click's mark for verbatim ones is left out."""
    text = (command.help or "").replace("\b\n", "")
    return [re.sub(r"\s+", " ", part).strip() for part in text.strip().split("\n\n")]


def _topic(text: str) -> Iterator[str]:
    """Yield a topic's lines."""
    tokens = MarkdownIt().enable("table").parse(text)
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.type == "heading_open":
            level = ".SH" if token.tag == "h1" else ".SS"
            title = _plain(tokens[at + 1])
            yield f"{level} {_escaped(title.upper() if token.tag == 'h1' else title)}"
            at += 2
        elif token.type == "paragraph_open" and not token.hidden:
            yield from (".PP", _inline(tokens[at + 1]))
            at += 2
        elif token.type == "paragraph_open":
            yield _inline(tokens[at + 1])
            at += 2
        elif token.type in ("fence", "code_block"):
            yield from (".PP", ".nf", ".RS 4", *map(_line, token.content.rstrip().split("\n")), ".RE", ".fi")
        elif token.type == "list_item_open":
            mark = f"{token.info}." if token.info else "\\(bu"
            yield f".IP {mark} 4"
        elif token.type == "table_open":
            end = next(place for place in range(at, len(tokens)) if tokens[place].type == "table_close")
            yield from _table(tokens[at:end])
            at = end
        at += 1


def _table(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield a table as a list of terms: the first cell, and below it the others."""
    titles: list[str] = []
    row: list[Token] = []
    for token in tokens:
        if token.type == "tr_open":
            row = []
        elif token.type == "inline":
            row.append(token)
        elif token.type == "tr_close" and not titles:
            titles = [_plain(cell) for cell in row]
            first, *others = titles
            if len(others) == 1 and others[0] not in PLAIN:
                yield from (".TP", f"\\fI{_escaped(first)}\\fR", f"\\fI{_escaped(others[0])}\\fR")
        elif token.type == "tr_close":
            yield from (".TP", _inline(row[0]))
            yield _told(titles[1:], row[1:])


def _told(titles: Sequence[str], cells: Sequence[Token]) -> str:
    """Return a row without its first cell: the meaning and, in brackets, the rest; or each after its title."""
    first = 1 if titles[-1] in PLAIN or len(titles) == 1 else 0
    ordered = [*zip(titles, cells, strict=True)]
    parts = [_cell(title, cell) for title, cell in (ordered[:-1] if first else ordered) if _plain(cell)]
    if not first:
        return "; ".join(parts) or "\\&"
    last = _inline(cells[-1])
    return f"{last} ({', '.join(parts)})" if parts else last or "\\&"


def _cell(title: str, cell: Token) -> str:
    return f"{_escaped(title)}: {_inline(cell, first=False)}"


def _inline(token: Token, *, first: bool = True) -> str:
    """Return running text: code and strong words bold."""
    parts = []
    for child in token.children or []:
        if child.type == "code_inline":
            parts.append(f"\\fB{_escaped(child.content)}\\fR")
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type in ("strong_open", "em_open"):
            parts.append("\\fB" if child.type == "strong_open" else "\\fI")
        elif child.type in ("strong_close", "em_close"):
            parts.append("\\fR")
        else:
            parts.append(_escaped(child.content))
    text = "".join(parts)
    return f"\\&{text}" if first and text.startswith((".", "'")) else text


def _plain(token: Token) -> str:
    return "".join(" " if child.type == "softbreak" else child.content for child in token.children or [])


def _paragraphs(*texts: str) -> Iterator[str]:
    for text in texts:
        yield from (".PP", _line(text))


def _line(text: str) -> str:
    """Return a line of text that begins with no request."""
    return "\\&" + _escaped(text) if text.startswith((".", "'")) else _escaped(text) or "\\&"


def _escaped(text: str) -> str:
    special = {"\\": "\\e", "-": "\\-", "…": "\\&...", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
    return "".join(special.get(character, character) for character in text)
