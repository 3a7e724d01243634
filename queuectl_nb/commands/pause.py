"""``pause``: stop new starts; running jobs go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Said, nothing
from queuectl_nb.commands.app import verb
from queuectl_nb.commands.params import QUEUE

if TYPE_CHECKING:
    from queuectl_nb.commands.context import Session

__all__ = ["command"]


@verb("pause")
@click.argument("name", metavar="[QUEUE]", required=False, type=QUEUE)
@click.pass_obj
def command(session: Session, name: str | None) -> Said:
    """Stop new starts in a queue, or everywhere; running jobs go on."""
    queue = session.queue()
    queue.pause(name)
    return Said(
        [f"Queue {name} paused." if name else "All queues paused."], lambda: {"paused": queue.paused()}, nothing
    )
