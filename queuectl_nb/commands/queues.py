"""``pause``, ``resume`` and ``limit``: change which jobs may start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import QUEUE, TextParam
from queuectl_nb.commands.results import Listing
from queuectl_nb.model.validation import parse_limit, parse_name
from queuectl_nb.store.limits import Limit, read_limits

if TYPE_CHECKING:
    import pandas as pd

    from queuectl_nb.client.queue import Queue

__all__ = ["limit_command", "pause_command", "resume_command"]


@queuectl_command("pause", examples=["queuectl pause", "queuectl pause gpu"])
@click.argument("queue", required=False, type=QUEUE)
def pause_command(context: Context, queue: str | None) -> Done:
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


@queuectl_command("resume")
@click.argument("queue", required=False, type=QUEUE)
def resume_command(context: Context, queue: str | None) -> Done:
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


@queuectl_command(
    "limit",
    examples=["queuectl limit gpu 2", "queuectl limit gpu none", "queuectl limit"],
    context_settings={"ignore_unknown_options": True},  # a negative number is not an option
)
@click.argument("name", metavar="[QUEUE]", required=False, type=QUEUE)
@click.argument("number", metavar="[N|none]", required=False, type=TextParam("N", ["none"]))
def limit_command(context: Context, name: str | None, number: str | None) -> Done | Listing:
    """Limit how many jobs of a queue run at a time, over all workers.

    Without a number, show the limits. 'none' lifts a limit. Running jobs continue.
    """
    for word in (name, number):
        if word is not None and word.startswith("--"):
            raise click.NoSuchOption(word, ctx=click.get_current_context())
    if name is None or number is None:
        return _listing(context.queue(), name)
    limit = None if number == "none" else parse_limit(number)
    queue = context.queue(create=True)
    queue.limit(name, limit)
    meaning = "no limit" if limit is None else f"at most {limit} running job{'s'[: limit > 1]}"
    return Done([f"Queue {name}: {meaning}."], queue.limit)


def _listing(queue: Queue, name: str | None) -> Listing:
    wanted = None if name is None else parse_name("queue", name)
    found = [each for each in read_limits(queue.store.db) if wanted in (None, each.queue)]

    def frame() -> pd.DataFrame:
        from queuectl_nb.render.frames import frames

        return frames.limits(found)

    return Listing(
        Limit._fields,
        [(field, field) for field in Limit._fields],
        lambda most: [each._asdict() for each in found[:most]],
        value=frame,
        data=lambda: {each.queue: each.limit for each in found},
        empty_text="No limits." if name is None else f"Queue {name} has no limit.",
    )
