"""``delete``: remove jobs with their history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Said, removed
from queuectl_nb.commands.app import verb
from queuectl_nb.commands.params import JobId
from queuectl_nb.model.state import TAKES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.commands.context import Session

__all__ = ["command"]


@verb("delete")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=JobId(TAKES["delete"]))
@click.pass_obj
def command(session: Session, ids: Sequence[str]) -> Said:
    """Remove jobs with their history.

    Takes jobs that no worker holds; several: all or none.
    """
    queue = session.queue()
    ids = list(dict.fromkeys(ids))
    frame = removed(queue, ids, holds=session.holds)
    queue.delete(*ids)
    return Said([f"Job {job_id} deleted." for job_id in ids], lambda: ids, frame)
