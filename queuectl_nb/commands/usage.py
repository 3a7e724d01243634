"""click's complaints as one line that names the valid choices."""

from __future__ import annotations

import click

__all__ = ["describe_usage_error"]


def describe_usage_error(error: click.ClickException) -> str:
    """Return one line for an error that click raised, with where it was and what would be valid."""
    text = error.format_message().rstrip(".")
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return text[:1].lower() + text[1:]
    _, _, verb = ctx.command_path.partition(" ")
    at = f"{verb}: " if verb else ""
    if isinstance(ctx.command, click.Group) and text == "Missing command":  # after options: without, a noun says it
        return f"{verb} needs one of: {', '.join(ctx.command.list_commands(ctx))}"
    if isinstance(error, click.NoSuchOption):
        return f"{at}no such option {error.option_name}; valid: {', '.join(_options(ctx))}"
    return f"{at}{text[:1].lower()}{text[1:]}; '{ctx.command_path} --help' shows how"


def _options(ctx: click.Context) -> list[str]:
    """Return the options of the command at hand, as they are written."""
    return [
        max(param.opts, key=len)
        for param in ctx.command.get_params(ctx)
        if isinstance(param, click.Option) and not param.hidden
    ]
