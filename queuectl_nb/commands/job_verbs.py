"""``retry``, ``cancel``, ``delete`` and ``prune``: change jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done, frame_before_removal, jobs_done, no_value
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import Choice, JobId, TextParam
from queuectl_nb.model import validation
from queuectl_nb.model.state import ALLOWED_STATES, FINISHED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.commands.context import Context

__all__ = ["cancel", "delete", "prune", "retry"]

FINISHED_STATE = Choice("finished state", [state for state in State if state in FINISHED_STATES])


def _ids_argument(verb: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Add the argument ``ids``: jobs in the states that ``verb`` accepts, each once."""
    return click.argument(
        "ids",
        metavar="ID...",
        nargs=-1,
        required=True,
        type=JobId(ALLOWED_STATES[verb]),
        callback=lambda _ctx, _param, ids: list(dict.fromkeys(ids)),
    )


@queuectl_command("retry")
@_ids_argument("retry")
@click.pass_obj
def retry(context: Context, ids: Sequence[str]) -> Done:
    """Run jobs again now.

    Accepts failed, dead, cancelled and completed jobs. Finished jobs get a fresh retry budget. Several ids: all or
    none.
    """
    queue = context.queue()
    queue.retry(*ids)
    return jobs_done(queue, ids, "Job {id} moved back to queue for retry.")


@queuectl_command("cancel")
@_ids_argument("cancel")
@click.pass_obj
def cancel(context: Context, ids: Sequence[str]) -> Done:
    """Cancel jobs, also running ones.

    Waits until running jobs have stopped. Several ids: all or none.
    """
    queue = context.queue()
    queue.cancel(*ids)
    return jobs_done(queue, ids, "Job {id} cancelled.")


@queuectl_command("delete")
@_ids_argument("delete")
@click.pass_obj
def delete(context: Context, ids: Sequence[str]) -> Done:
    """Delete jobs with their history.

    Running jobs cannot be deleted. Several ids: all or none.
    """
    queue = context.queue()
    frame = frame_before_removal(queue, ids, wanted=context.wants_value)
    queue.delete(*ids)
    return Done([f"Job {job_id} deleted." for job_id in ids], lambda: ids, frame)


@queuectl_command("prune")
@click.option(
    "--older-than",
    required=True,
    type=TextParam(),
    metavar="D",
    help="Minimum age since the job finished: 7d, 12h, 90m, 30s or 0.",
)
@click.option("--state", type=FINISHED_STATE, help="Delete only jobs in this state.")
@click.pass_obj
def prune(context: Context, older_than: str, state: str | None) -> Done:
    """Delete finished jobs older than a given age, with their history."""
    removed = context.queue().prune(validation.parse_age("--older-than", older_than), state)
    return Done([f"{removed} job(s) removed."], lambda: {"removed": removed}, no_value)
