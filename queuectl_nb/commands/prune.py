"""``prune``: delete old jobs."""

from __future__ import annotations

import click

from queuectl_nb.client import job_actions
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import Choice, Parsed
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import FINISHED_STATES, State
from queuectl_nb.render.progress import format_size
from queuectl_nb.store.maintenance import read_space

__all__ = ["command"]

FINISHED_STATE = Choice("finished state", [state for state in State if state in FINISHED_STATES])


@queuectl_command("prune", examples=["queuectl prune --older-than 7d --state completed", "queuectl prune --vacuum"])
@click.option(
    "--older-than",
    type=Parsed("AGE", validation.parse_age),
    help="Minimum age since the job finished: 7d, 12h, 90m, 30s or 0.",
)
@click.option("--state", type=FINISHED_STATE, help="Delete only jobs in this state.")
@click.option("--vacuum", is_flag=True, help="Shrink the file; without --older-than, do only that.")
@click.option("--dry-run", is_flag=True, help="Change nothing; show how many jobs would be removed.")
def command(context: Context, *, older_than: float | None, state: str | None, vacuum: bool, dry_run: bool) -> Done:
    """Delete finished jobs older than a given age, and shrink the file.

    Their history is deleted, too. Without --vacuum, running workers shrink the file while no job waits.
    """
    if older_than is None and (not vacuum or state is not None):
        raise BadInput("--older-than must be given, such as --older-than 7d; only --vacuum alone works without it")
    store = context.queue().store
    removed, freed = job_actions.prune(store, older_than, state, vacuum=vacuum, dry_run=dry_run)
    lines = [f"{removed} job(s) {'would be ' if dry_run else ''}removed."] if older_than is not None else []
    data = {"removed": removed}
    if vacuum and dry_run:
        lines.append("The file would be shrunk.")
    elif vacuum:
        size = format_size(read_space(store.db).size)
        lines.append(f"File shrunk by {format_size(freed)} to {size}.")
        data["freed_bytes"] = freed
    return Done(lines, lambda: data)
