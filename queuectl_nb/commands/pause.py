"""``pause``: stop new starts; running jobs go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done, no_value
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import QUEUE

if TYPE_CHECKING:
    from queuectl_nb.commands.context import Context

__all__ = ["command"]


@queuectl_command("pause")
@click.argument("name", metavar="[QUEUE]", required=False, type=QUEUE)
@click.pass_obj
def command(session: Context, name: str | None) -> Done:
    """Stop new starts in a queue, or everywhere; running jobs go on."""
    queue = session.queue()
    queue.pause(name)
    return Done(
        [f"Queue {name} paused." if name else "All queues paused."],
        lambda: {"paused": queue.paused()},
        no_value,
    )
