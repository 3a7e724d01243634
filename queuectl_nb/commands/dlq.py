"""``dlq``: manage the dead letter queue, the jobs that used up their attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.commands.ack import Done, frame_before_removal, jobs_done
from queuectl_nb.commands.app import CommandGroup, queuectl_command
from queuectl_nb.commands.params import JobId, add_db_options
from queuectl_nb.commands.results import Listing
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.state import State
from queuectl_nb.render.json_shapes import job_json
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.job_lists import iter_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuectl_nb.commands.context import Context

__all__ = ["command", "list_", "purge", "retry"]

EMPTY = "DLQ is empty."
COLUMNS = tuple((key, key) for key in ("id", "command", "state", "attempts", "updated_at"))
DEAD = JobId([State.DEAD])


@queuectl_command("list")
@click.pass_obj
def list_(context: Context) -> Listing:
    """List dead jobs, most recent first."""
    queue = context.queue()
    wanted = Filter.from_options(state=State.DEAD)

    def rows(limit: int | None) -> Iterator[dict[str, Any]]:
        return map(
            job_json, iter_jobs(queue.store.db, queue.store.reader, Filter.from_options(state=State.DEAD, limit=limit))
        )

    return Listing(
        JOB_FIELDS,
        COLUMNS,
        rows,
        value=lambda: queue.jobs(state=State.DEAD),
        count=lambda: queue.store.reader.count(wanted),
        empty_text=EMPTY,
    )


@queuectl_command("retry")
@click.argument("ids", metavar="ID...", nargs=-1, type=DEAD)
@click.option("--all", "everything", is_flag=True, help="All dead jobs.")
@click.pass_obj
def retry(context: Context, *, ids: Sequence[str], everything: bool) -> Done:
    """Move dead jobs back to the queue with a fresh retry budget.

    Several ids: all or none.
    """
    queue = context.queue()
    return jobs_done(queue, queue.retry_dead(*ids, all=everything), "Job {id} moved back to queue for retry.", EMPTY)


@queuectl_command("purge")
@click.argument("ids", metavar="ID...", nargs=-1, type=DEAD)
@click.option("--all", "everything", is_flag=True, help="All dead jobs.")
@click.pass_obj
def purge(context: Context, *, ids: Sequence[str], everything: bool) -> Done:
    """Delete dead jobs.

    Several ids: all or none.
    """
    queue = context.queue()
    if everything and not ids and context.wants_value:
        ids = [job_id for job_id, _ in queue.store.reader.changed_since([State.DEAD], -1)]
        everything = not ids
    frame = frame_before_removal(queue, ids, wanted=context.wants_value)
    gone = queue.purge_dead(*ids, all=everything)
    lines = [f"Job {job_id} removed from the DLQ." for job_id in gone] or [EMPTY]
    return Done(lines, lambda: gone, frame)


@click.group("dlq", cls=CommandGroup)
def command() -> None:
    """Manage the dead letter queue."""


add_db_options(command)
for each in (list_, retry, purge):
    command.add_command(each)
