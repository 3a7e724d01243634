"""``dlq``: manage the dead letter queue, the jobs that used up their attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done, jobs_done
from queuectl_nb.commands.app import command_group, queuectl_command
from queuectl_nb.commands.list import list_jobs
from queuectl_nb.commands.params import find_ids, job_id_type
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.commands.context import Context
    from queuectl_nb.commands.results import Listing

__all__ = ["command", "list_", "purge", "retry"]

EMPTY = "DLQ is empty."
COLUMNS = tuple((key, key) for key in ("id", "command", "state", "attempts", "updated_at", "error"))


@queuectl_command("list")
def list_(context: Context) -> Listing:
    """List dead jobs, most recent first."""
    return list_jobs(context.queue(), {"state": State.DEAD}, COLUMNS, EMPTY)


def _dead_jobs(function: Callable[..., Done]) -> Callable[..., Done]:
    """Add the ids of dead jobs, or ``--all``."""
    ids = click.argument("ids", metavar="[ID...]", nargs=-1, type=job_id_type([State.DEAD]))
    return ids(click.option("--all", "everything", is_flag=True, help="All dead jobs.")(function))


@queuectl_command("retry", examples=["queuectl dlq retry job-1", "queuectl dlq retry --all"])
@_dead_jobs
def retry(context: Context, *, ids: Sequence[str], everything: bool) -> Done:
    """Move dead jobs back to the queue with a fresh retry budget.

    Give ids or --all. Several ids: all or none.
    """
    queue = context.queue()
    ids = find_ids(queue, ids)
    return jobs_done(queue, queue.retry_dead(*ids, all=everything), "Job {id} moved back to queue for retry.", EMPTY)


@queuectl_command("purge", examples=["queuectl dlq purge job-1", "queuectl dlq purge --all"])
@_dead_jobs
def purge(context: Context, *, ids: Sequence[str], everything: bool) -> Done:
    """Delete dead jobs.

    Give ids or --all. Several ids: all or none.
    """
    queue = context.queue()
    dead = queue.jobs(state=State.DEAD) if context.wants_value else None
    gone = queue.purge_dead(*find_ids(queue, ids), all=everything)
    lines = [f"Job {job_id} removed from the DLQ." for job_id in gone] or [EMPTY]
    return Done(lines, lambda: gone, lambda: None if dead is None else dead.loc[gone])


command = command_group("dlq", "Manage the dead letter queue.", list_, retry, purge)
