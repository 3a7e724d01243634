"""The reference of the console command: an overview, and a page for each group of commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.app import ALIASES, SECTIONS, ExampleCommand, root

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COMMON_OPTIONS", "common_options", "link", "options", "pages", "paragraphs", "walk"]

COMMON_OPTIONS = ("--db", "--format", "--json", "--help")
"""Options that are described once for all commands."""
_CODE = re.compile(r"(?<!\w)'([^']+)'(?!\w)|(?<![\w-])(--[\w-]*)")
"""Commands in quotes, and options, in a help text."""


def walk() -> Iterator[tuple[click.Command, click.Context]]:
    """Yield the root and all commands below it, each with its context."""
    return _below(root, click.Context(root, info_name="queuectl", **root.context_settings))


def _below(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name  # listed by the group itself
            yield from _below(below, click.Context(below, info_name=name, parent=context))


def paragraphs(command: click.Command) -> list[str]:
    """Return the help text of a command, a line for each paragraph."""
    return [" ".join(part.split()) for part in (command.help or "").strip().split("\n\n")]


def options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield the options of a command except the common ones: the option with its value, and its help text."""
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if isinstance(param, click.Option) and record is not None and not {*COMMON_OPTIONS} & {*param.opts}:
            yield record


def common_options() -> Iterator[tuple[str, str]]:
    """Yield the options of the root command, then those of every command that shows data."""
    _, context = next(walk())
    status, inner = next(pair for pair in walk() if pair[0].name == "status")
    shared = [param for param in status.get_params(inner) if {"--format", "--json"} & {*param.opts}]
    for param in (*root.get_params(context), *shared):
        record = param.get_help_record(context)
        if record is not None:
            yield record


def link(context: click.Context, folder: str = "") -> str:
    """Return the link to the section of a command; ``folder`` leads to the folder of the overview."""
    verb = context.command_path.split()[1]
    title = next(title for title, names in SECTIONS.items() if verb in names)
    anchor = context.command_path.replace(" ", "-")
    return f"[`{context.command_path}`]({folder}cli/{title.lower()}.md#{anchor})"


def pages() -> dict[str, str]:
    """Return the overview and the page of each group by file name, relative to the folder of the overview."""
    found = {"cli.md": _overview()}
    for title, names in SECTIONS.items():
        parts = [f"# {title.removesuffix('s')} commands\n"]
        parts += [_section(*pair) for pair in walk() if (path := pair[1].command_path.split()[1:]) and path[0] in names]
        found[f"cli/{title.lower()}.md"] = "\n".join(parts)
    return found


def _overview() -> str:
    """Return the page that lists all commands, with the options that they share."""
    parts = ["# The console command\n", *_usage(*next(walk()))]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n\n| command | description |\n| --- | --- |")
        for command, context in walk():
            path = context.command_path.split()[1:]
            if path and path[0] in names and not isinstance(command, click.Group):
                parts.append(f"| {link(context)} | {_markdown(paragraphs(command)[0].rstrip('.'))} |")
        parts.append("")
    parts += [
        "## Short names\n\n| short | command |\n| --- | --- |",
        *(f"| `{a}` | `{b}` |" for a, b in ALIASES.items()),
        "",
    ]
    parts += ["## Common options\n", *_table(common_options()), ""]
    parts.append(
        "Every command that shows data accepts `--format` and `--json`, every command that uses a queue `--db`.\n"
    )
    return "\n".join(parts)


def _section(command: click.Command, context: click.Context) -> str:
    """Return the section of a command: help, usage, options and examples."""
    level = "##" if context.parent and context.parent.parent is None else "###"
    parts = [f"{level} `{context.command_path}`\n", *_usage(command, context)]
    table = _table(options(command, context))
    parts += [*table, ""] if table else []
    own = {option for param in command.get_params(context) for option in param.opts}
    common = [f"`{option}`" for option in COMMON_OPTIONS[:-1] if option in own]
    if common and not isinstance(command, click.Group):
        parts.append(f"[Common options](../cli.md#common-options): {', '.join(common)}.\n")
    if isinstance(command, ExampleCommand) and command.examples:
        parts += ["```bash", *command.examples, "```\n"]
    return "\n".join(parts)


def _usage(command: click.Command, context: click.Context) -> Iterator[str]:
    for text in paragraphs(command):
        yield f"{_markdown(text)}\n"
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"


def _table(rows: Iterator[tuple[str, str]]) -> list[str]:
    """Return a table of options; empty without any."""
    cells = [f"| `{option.replace('|', chr(92) + '|')}` | {_markdown(text)} |" for option, text in rows]
    return ["| option | description |", "| --- | --- |", *cells] if cells else []


def _markdown(text: str) -> str:
    """Return a help text as Markdown, with commands and options as code."""
    escaped = re.sub(r"([\\*<[|])", r"\\\1", text)
    return _CODE.sub(lambda match: f"`{match[1] or match[2]}`", escaped)
