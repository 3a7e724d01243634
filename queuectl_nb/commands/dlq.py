"""``dlq``: the dead letter queue, the jobs whose attempts are used up."""

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
from queuectl_nb.store.job_lists import iter_jobs
from queuectl_nb.store.reader import Filter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuectl_nb.commands.context import Context

__all__ = ["command", "list_", "purge", "retry"]

EMPTY = "DLQ is empty."
COLUMNS = tuple((key, key) for key in ("id", "command", "state", "attempts", "updated_at"))
DEAD = JobId([State.DEAD])


@queuectl_command("list")
@click.pass_obj
def list_(session: Context) -> Listing:
    """List the dead jobs, the last to die first."""
    queue = session.queue()
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
@click.option("--all", "everything", is_flag=True, help="Every dead job, a thousand at a time.")
@click.pass_obj
def retry(session: Context, *, ids: Sequence[str], everything: bool) -> Done:
    """Queue dead jobs again with a fresh budget.

    Several ids: all or none.
    """
    queue = session.queue()
    return jobs_done(queue, queue.retry_dead(*ids, all=everything), "Job {id} moved back to queue for retry.", EMPTY)


@queuectl_command("purge")
@click.argument("ids", metavar="ID...", nargs=-1, type=DEAD)
@click.option("--all", "everything", is_flag=True, help="Every dead job, a thousand at a time.")
@click.pass_obj
def purge(session: Context, *, ids: Sequence[str], everything: bool) -> Done:
    """Remove dead jobs for good.

    Several ids: all or none.
    """
    queue = session.queue()
    if everything and not ids and session.wants_value:
        ids = [job_id for job_id, _ in queue.store.reader.changed_since([State.DEAD], -1)]
        everything = not ids
    frame = frame_before_removal(queue, ids, wanted=session.wants_value)
    gone = queue.purge_dead(*ids, all=everything)
    lines = [f"Job {job_id} removed from the DLQ." for job_id in gone] or [EMPTY]
    return Done(lines, lambda: gone, frame)


@click.group("dlq", cls=CommandGroup)
def command() -> None:
    """Look after the dead letter queue."""


add_db_options(command)
for each in (list_, retry, purge):
    command.add_command(each)
