"""``pause`` and ``resume``: stop and allow job starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done, no_value
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import QUEUE

if TYPE_CHECKING:
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.context import Context

__all__ = ["command", "resume"]


@queuectl_command("pause")
@click.argument("name", metavar="[QUEUE]", required=False, type=QUEUE)
@click.pass_obj
def command(context: Context, name: str | None) -> Done:
    """Stop starting jobs of a queue, or of all queues.

    Running jobs continue.
    """
    queue = context.queue()
    queue.pause(name)
    return _done(queue, f"Queue {name} paused." if name else "All queues paused.")


@queuectl_command("resume")
@click.argument("name", metavar="[QUEUE]", required=False, type=QUEUE)
@click.pass_obj
def resume(context: Context, name: str | None) -> Done:
    """Start jobs of a paused queue again, or of all queues."""
    queue = context.queue()
    queue.resume(name)
    return _done(queue, f"Queue {name} resumed." if name else "All queues resumed.")


def _done(queue: Queue, line: str) -> Done:
    return Done([line], lambda: {"paused": queue.store.reader.paused_queues()}, no_value)
