"""``retry``: run jobs again now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Said, said_of
from queuectl_nb.commands.app import verb
from queuectl_nb.commands.params import JobId
from queuectl_nb.model.state import TAKES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.commands.context import Session

__all__ = ["command"]


@verb("retry")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=JobId(TAKES["retry"]))
@click.pass_obj
def command(session: Session, ids: Sequence[str]) -> Said:
    """Run jobs again now.

    Takes failed, dead, cancelled and completed jobs; several: all or none. Those at rest get a fresh budget.
    """
    queue = session.queue()
    ids = list(dict.fromkeys(ids))
    queue.retry(*ids)
    return said_of(queue, ids, "Job {id} moved back to queue for retry.")
