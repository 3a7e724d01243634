"""``retry``: run jobs again now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done, jobs_done
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import JobId
from queuectl_nb.model.state import ALLOWED_STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.commands.context import Context

__all__ = ["command"]


@queuectl_command("retry")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=JobId(ALLOWED_STATES["retry"]))
@click.pass_obj
def command(context: Context, ids: Sequence[str]) -> Done:
    """Run jobs again now.

    Accepts failed, dead, cancelled and completed jobs. Finished jobs get a fresh retry budget. Several ids: all or
    none.
    """
    queue = context.queue()
    ids = list(dict.fromkeys(ids))
    queue.retry(*ids)
    return jobs_done(queue, ids, "Job {id} moved back to queue for retry.")
