"""``resume``: allow job starts again."""

from __future__ import annotations

import click

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import QUEUE

__all__ = ["command"]


@queuectl_command("resume")
@click.argument("queue", required=False, type=QUEUE)
def command(context: Context, queue: str | None) -> Done:
    """Start jobs of a paused queue again, or of all queues."""
    store = context.queue().store
    paused = store.reader.paused_queues()
    notes = []
    if queue is not None and queue not in paused:
        names = "all queues; use resume without a name" if paused == ["*"] else ", ".join(paused) or "none"
        notes.append(f"queue {queue} was not paused by name; paused: {names}")
    context.queue().resume(queue)
    line = f"Queue {queue} resumed." if queue else "All queues resumed."
    return Done([line], lambda: {"paused": store.reader.paused_queues()}, notes=lambda: notes)
