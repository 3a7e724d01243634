"""``resume``: allow job starts again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import QUEUE

if TYPE_CHECKING:
    from queuectl_nb.commands.context import Context

__all__ = ["command"]


@queuectl_command("resume")
@click.argument("queue", required=False, type=QUEUE)
def command(context: Context, queue: str | None) -> Done:
    """Start jobs of a paused queue again, or of all queues."""
    store = context.queue().store
    context.queue().resume(queue)
    line = f"Queue {queue} resumed." if queue else "All queues resumed."
    return Done([line], lambda: {"paused": store.reader.paused_queues()})
