"""``delete``: delete jobs with their history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done, frame_before_removal
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import JobId
from queuectl_nb.model.state import ALLOWED_STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.commands.context import Context

__all__ = ["command"]


@queuectl_command("delete")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=JobId(ALLOWED_STATES["delete"]))
@click.pass_obj
def command(context: Context, ids: Sequence[str]) -> Done:
    """Delete jobs with their history.

    Running jobs cannot be deleted. Several ids: all or none.
    """
    queue = context.queue()
    ids = list(dict.fromkeys(ids))
    frame = frame_before_removal(queue, ids, wanted=context.wants_value)
    queue.delete(*ids)
    return Done([f"Job {job_id} deleted." for job_id in ids], lambda: ids, frame)
