"""``config``: show and change settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.commands.ack import Done, no_value
from queuectl_nb.commands.app import CommandGroup, queuectl_command
from queuectl_nb.commands.params import SETTING, TextParam, add_db_options
from queuectl_nb.commands.results import Listing
from queuectl_nb.model.settings import SETTINGS, get_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.commands.context import Context
    from queuectl_nb.model.settings import Settings, Value

__all__ = ["command", "get", "list_", "set_", "unset"]

FIELDS = ("key", "value", "default", "meaning")


@queuectl_command("list")
@click.pass_obj
def list_(context: Context) -> Listing:
    """List all settings with value, default and meaning."""
    queue = context.queue()
    now = queue.settings
    values: Mapping[str, Value] = {key: getattr(now, key) for key in SETTINGS}
    rows = [
        {"key": key, "value": values[key], "default": row.default, "meaning": _meaning(key)}
        for key, row in SETTINGS.items()
    ]
    return Listing(
        FIELDS,
        tuple((field, field) for field in FIELDS),
        lambda limit: rows[:limit],
        value=lambda: _frame(now),
        data=lambda: values,
    )


def _frame(settings: Settings) -> Any:
    from queuectl_nb.render.frames import frames

    return frames.settings(settings)


def _meaning(key: str) -> str:
    row = SETTINGS[key]
    return f"{row.meaning} ({row.bounds})"


@queuectl_command("get")
@click.argument("key", metavar="KEY", type=SETTING)
@click.pass_obj
def get(context: Context, key: str) -> Done:
    """Print the value of a setting."""
    name = get_setting(key).key
    found: Value = getattr(context.queue().settings, name)
    return Done([str(found)], lambda: found, lambda: found)


@queuectl_command("set", context_settings={"ignore_unknown_options": True})
@click.argument("key", metavar="KEY", type=SETTING)
@click.argument("value", metavar="VALUE", type=TextParam())
@click.pass_obj
def set_(context: Context, key: str, value: str) -> Done:
    """Change a setting.

    Running workers use the new value without a restart.
    """
    return _updated(*context.queue().set(key, value))


@queuectl_command("unset")
@click.argument("key", metavar="KEY", type=SETTING)
@click.pass_obj
def unset(context: Context, key: str) -> Done:
    """Reset a setting to its default."""
    return _updated(*context.queue().unset(key))


def _updated(key: str, value: Any) -> Done:
    return Done([f"Config updated: {key} = {value}"], lambda: {key: value}, no_value)


@click.group("config", cls=CommandGroup)
def command() -> None:
    """Show and change settings."""


add_db_options(command)
for each in (list_, get, set_, unset):
    command.add_command(each)
