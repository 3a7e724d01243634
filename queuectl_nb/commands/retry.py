"""``retry``: run jobs again."""

from __future__ import annotations

from collections.abc import Sequence

from queuectl_nb.commands.ack import Done, jobs_done
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.params import find_ids, job_ids

__all__ = ["command"]


@queuectl_command("retry", examples=["queuectl retry job-1 job-2"])
@job_ids("retry")
def command(context: Context, ids: Sequence[str]) -> Done:
    """Run jobs again now.

    Accepts failed, dead, cancelled and completed jobs. Finished jobs get a fresh retry budget. Several ids: all or
    none.
    """
    queue = context.queue()
    ids = find_ids(queue, ids)
    queue.retry(*ids)
    return jobs_done(queue, ids, "Job {id} moved back to queue for retry.")
