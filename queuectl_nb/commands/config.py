"""``config``: show and change settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from queuectl_nb.commands.app import command_group, queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import TextParam
from queuectl_nb.commands.results import Listing
from queuectl_nb.model.settings import SETTINGS, Settings, Value, get_setting

__all__ = ["config_command", "get", "list_", "set_", "unset"]

KEY = TextParam("KEY", SETTINGS)
FIELDS = ("key", "value", "default", "meaning")


@queuectl_command("list")
def list_(context: Context) -> Listing:
    """List all settings with value, default and meaning."""
    now, notes = _settings(context)
    values: Mapping[str, Value] = {key: getattr(now, key) for key in SETTINGS}
    rows = [
        {"key": key, "value": values[key], "default": row.default, "meaning": f"{row.meaning} ({row.bounds})"}
        for key, row in SETTINGS.items()
    ]
    columns = [(field, field) for field in FIELDS]
    return Listing(
        FIELDS,
        columns,
        lambda limit: rows[:limit],
        value=lambda: _frame(now),
        data=lambda: values,
        hints=lambda: notes,
    )


def _settings(context: Context) -> tuple[Settings, Sequence[str]]:
    """Return the settings and notes about them: of a queue that does not exist, the defaults."""
    queue = context.queue_or_reason()
    return (Settings.from_stored({}), [queue]) if isinstance(queue, str) else (queue.settings, [])


def _frame(settings: Settings) -> Any:
    from queuectl_nb.render.frames import frames

    return frames.settings(settings)


@queuectl_command("get")
@click.argument("key", type=KEY)
def get(context: Context, key: str) -> Done:
    """Print the value of a setting."""
    name = get_setting(key).key
    now, notes = _settings(context)
    found: Value = getattr(now, name)
    return Done([str(found)], lambda: found, lambda: found, notes=lambda: notes)


@queuectl_command(
    "set",
    examples=["queuectl config set max_retries 5", "queuectl config set timeout 3600"],
    context_settings={"ignore_unknown_options": True},
)
@click.argument("key", type=KEY)
@click.argument("value", type=TextParam("VALUE"))
def set_(context: Context, key: str, value: str) -> Done:
    """Change a setting.

    Running workers use the new value without a restart. 'queuectl config list' shows the settings.
    """
    return _updated(*context.queue(create=True).set(key, value))


@queuectl_command("unset")
@click.argument("key", type=KEY)
def unset(context: Context, key: str) -> Done:
    """Reset a setting to its default."""
    return _updated(*context.queue().unset(key))


def _updated(key: str, value: Any) -> Done:
    return Done([f"Config updated: {key} = {value}"], lambda: {key: value})


config_command = command_group(
    "config",
    "Show and change settings.",
    *(list_, get, set_, unset),
    suggestions={spelling: f"get {key}" for key in SETTINGS for spelling in (key, key.replace("_", "-"))},
)
