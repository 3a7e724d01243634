"""``cancel``: cancel jobs."""

from __future__ import annotations

from collections.abc import Sequence

from queuectl_nb.commands.ack import Done, jobs_done
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.params import find_ids, job_ids

__all__ = ["command"]


@queuectl_command("cancel", examples=["queuectl cancel job-1 job-2"])
@job_ids("cancel")
def command(context: Context, ids: Sequence[str]) -> Done:
    """Cancel jobs, including running ones.

    Waits until running jobs have stopped. Several ids: all or none.
    """
    queue = context.queue()
    ids = find_ids(queue, ids)
    queue.cancel(*ids)
    return jobs_done(queue, ids, "Job {id} cancelled.")
