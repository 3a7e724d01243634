"""The reference of the console command: the help text of every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.app import root

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["reference", "walk"]

WIDTH = 100


def walk(width: int = WIDTH) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield the root and all commands below it, each with its context."""
    settings = {**root.context_settings, "max_content_width": width, "terminal_width": width}
    return _below(root, click.Context(root, info_name="queuectl", **settings), width)


def _below(command: click.Command, context: click.Context, width: int) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name  # noqa: S101 - listed by the group itself
            inner = click.Context(below, info_name=name, parent=context, max_content_width=width, terminal_width=width)
            yield from _below(below, inner, width)


def reference() -> str:
    """Return the page, with a section per command."""
    parts = ["# The console command\n"]
    for command, context in walk():
        level = "##" if context.parent is None or context.parent.parent is None else "###"
        parts.append(f"{level} `{context.command_path}`\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)
