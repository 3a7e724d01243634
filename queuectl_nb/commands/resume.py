"""``resume``: allow starts again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done, no_value
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import QUEUE

if TYPE_CHECKING:
    from queuectl_nb.commands.context import Context

__all__ = ["command"]


@queuectl_command("resume")
@click.argument("name", metavar="[QUEUE]", required=False, type=QUEUE)
@click.pass_obj
def command(session: Context, name: str | None) -> Done:
    """Allow starts again in a queue, or lift every pause."""
    queue = session.queue()
    queue.resume(name)
    return Done(
        [f"Queue {name} resumed." if name else "All queues resumed."],
        lambda: {"paused": queue.paused()},
        no_value,
    )
