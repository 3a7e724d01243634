"""``pause``: stop job starts."""

from __future__ import annotations

import click

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import QUEUE

__all__ = ["command"]


@queuectl_command("pause", examples=["queuectl pause", "queuectl pause gpu"])
@click.argument("queue", required=False, type=QUEUE)
def command(context: Context, queue: str | None) -> Done:
    """Stop starting jobs of a queue, or of all queues.

    Running jobs continue. 'queuectl resume' starts jobs again.
    """
    opened = context.queue(create=True)
    store = opened.store
    known = {*store.reader.queue_names(), *(name for row in store.workers.list_all() for name in row.queues)}
    notes = []
    if queue is not None and queue not in known:
        others = ", ".join(sorted(known)) or "none"
        notes.append(f"no job or worker uses queue {queue} yet; known queues: {others}")
    opened.pause(queue)
    line = f"Queue {queue} paused." if queue else "All queues paused."
    return Done([line], lambda: {"paused": store.reader.paused_queues()}, notes=lambda: notes)
