"""``delete``: delete jobs."""

from __future__ import annotations

from collections.abc import Sequence

from queuectl_nb.commands.ack import Done
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.params import find_ids, job_ids

__all__ = ["command"]


@queuectl_command("delete", examples=["queuectl delete job-1 job-2"])
@job_ids("delete")
def command(context: Context, ids: Sequence[str]) -> Done:
    """Delete jobs with their history.

    Running jobs cannot be deleted. Several ids: all or none.
    """
    queue = context.queue()
    ids = find_ids(queue, ids)
    frame = None
    if context.wants_value:
        known = queue.store.reader.states_of(ids)  # delete() reports the others
        frame = queue.jobs(ids=[job_id for job_id in ids if job_id in known])
    queue.delete(*ids)
    return Done([f"Job {job_id} deleted." for job_id in ids], lambda: ids, lambda: frame)
