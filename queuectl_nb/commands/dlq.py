"""``dlq``: manage the dead letter queue, the jobs that used up their attempts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.commands.app import command_group, queuectl_command
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.list import list_jobs
from queuectl_nb.commands.selection import NO_MATCH, change_options, changed, choose, summary
from queuectl_nb.model.state import State
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from queuectl_nb.commands.context import Context
    from queuectl_nb.commands.done import Done
    from queuectl_nb.commands.results import Listing

__all__ = ["dlq_command", "list_", "purge", "retry"]

EMPTY = "DLQ is empty."
COLUMNS = tuple((key, key) for key in ("id", "command", "state", "attempts", "updated_at", "error"))


@queuectl_command("list")
def list_(context: Context) -> Listing:
    """List dead jobs, most recent first."""
    return list_jobs(context.queue(), Filter(state=(State.DEAD,)), COLUMNS, EMPTY)


def _dead_jobs(action: str) -> Callable[[Callable[..., Done]], Callable[..., Done]]:
    """Add the ids or selection of dead jobs, or ``--all``."""
    everything = click.option("--all", "everything", is_flag=True, help="All dead jobs.")
    return lambda function: change_options(action)(everything(function))


@queuectl_command("retry", examples=["queuectl dlq retry job-1", "queuectl dlq retry --all"])
@_dead_jobs("dlq retry")
def retry(context: Context, ids: Sequence[str], *, everything: bool, dry_run: bool, **selection: Any) -> Done:
    """Move dead jobs back to the queue with a fresh retry budget.

    Give ids, a selection, or --all. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection)
    ids = queue.retry_dead(*chosen.ids, all=everything, dry_run=dry_run, **chosen.selection)
    empty = NO_MATCH if chosen.selection else EMPTY
    return changed(queue, ids, "moved back to queue for retry", chosen, dry_run=dry_run, empty=empty)


@queuectl_command("purge", examples=["queuectl dlq purge job-1", "queuectl dlq purge --all"])
@_dead_jobs("dlq purge")
def purge(context: Context, ids: Sequence[str], *, everything: bool, dry_run: bool, **selection: Any) -> Done:
    """Delete dead jobs.

    Give ids, a selection, or --all. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection)
    dead = queue.jobs(state=State.DEAD) if context.wants_value else None
    gone = queue.purge_dead(*chosen.ids, all=everything, dry_run=dry_run, **chosen.selection)
    empty = NO_MATCH if chosen.selection else EMPTY
    value = partial(_rows, dead, gone)
    return summary(gone, "removed from the DLQ", chosen, lambda: gone, value, dry_run=dry_run, empty=empty)


def _rows(frame: pd.DataFrame | None, ids: Sequence[str]) -> pd.DataFrame | None:
    """Return the rows of these jobs; those that died after the frame was read have none."""
    return None if frame is None else frame[frame.index.isin(ids)]


dlq_command = command_group("dlq", "Manage the dead letter queue.", list_, retry, purge)
