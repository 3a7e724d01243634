"""``cancel``, ``retry``, ``delete``, ``edit`` and ``dlq``: change jobs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.commands.app import command_group, queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.params import QUEUE, TAG, TextParam, find_ids, job_id_type
from queuectl_nb.commands.selection import NO_MATCH, OPTIONS, change_options, changed, choose, summary
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from queuectl_nb.commands.done import Done
    from queuectl_nb.commands.results import Listing

__all__ = ["cancel_command", "delete_command", "dlq_command", "edit_command", "retry_command"]

NO_DEAD = "DLQ is empty."
DEAD_COLUMNS = tuple((key, key) for key in ("id", "command", "state", "attempts", "updated_at", "error"))
EDIT_EXAMPLES = (
    "queuectl edit job-1 --timeout 2h",
    'queuectl edit job-1 job-2 --priority 5 --after ""',
    "queuectl edit --with-tag sweep --state pending --queue gpu",
)
EDIT_SELECTION = {
    "state": OPTIONS["state"],
    "in_queue": click.option("--in-queue", type=QUEUE, help="Only jobs of this queue."),
    "with_tag": click.option("--with-tag", type=TAG, help="Only jobs with this tag."),
    "error": OPTIONS["error"],
    "search": OPTIONS["search"],
}
"""Named otherwise than in other commands where ``--queue`` and ``--tag`` are new values."""
_EDITED_LISTS = ("tags", "after", "after_any")


@queuectl_command("cancel", examples=["queuectl cancel job-1 job-2", "queuectl cancel --tag sweep --state pending"])
@change_options("cancel")
def cancel_command(context: Context, ids: Sequence[str], *, dry_run: bool, **selection: Any) -> Done:
    """Cancel jobs, including running ones.

    Waits until running jobs have stopped. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection, required=True)
    ids = queue.cancel(*chosen.ids, dry_run=dry_run, **chosen.selection)
    return changed(queue, ids, "cancelled", chosen, dry_run=dry_run)


@queuectl_command("retry", examples=["queuectl retry job-1 job-2", "queuectl retry --tag sweep --state dead --dry-run"])
@change_options("retry")
def retry_command(context: Context, ids: Sequence[str], *, dry_run: bool, **selection: Any) -> Done:
    """Run jobs again now.

    Accepts failed, dead, cancelled and completed jobs; a selection includes completed ones only with --state completed.
    Finished jobs get a fresh retry budget. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection, required=True)
    ids = queue.retry(*chosen.ids, dry_run=dry_run, **chosen.selection)
    return changed(queue, ids, "moved back to queue for retry", chosen, dry_run=dry_run)


@queuectl_command("delete", examples=["queuectl delete job-1 job-2", "queuectl delete --queue old --dry-run"])
@change_options("delete")
def delete_command(context: Context, ids: Sequence[str], *, dry_run: bool, **selection: Any) -> Done:
    """Delete jobs with their history.

    Running jobs cannot be deleted. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection, required=True)
    frame = queue.jobs(ids=queue.delete(*chosen.ids, dry_run=True, **chosen.selection)) if context.wants_value else None
    ids = queue.delete(*chosen.ids, dry_run=dry_run, **chosen.selection)
    return summary(ids, "deleted", chosen, lambda: ids, lambda: frame, dry_run=dry_run)


@queuectl_command("edit", examples=EDIT_EXAMPLES)
@click.option("-c", "--command", type=TextParam("COMMAND"), help="New command.")
@click.option("-p", "--priority", type=TextParam("N"), help="New priority; also for running jobs.")
@click.option("--delay", type=TextParam("DURATION"), help="Do not start before this time has passed, counted from now.")
@click.option("--run-at", type=TextParam("TIME"), help="Do not start before this time.")
@click.option(
    "-t", "--timeout", type=TextParam("DURATION"), help="New maximum run time per attempt; also for running jobs."
)
@click.option("--max-retries", type=TextParam("N"), help="New total number of attempts; also for running jobs.")
@click.option("-q", "--queue", type=QUEUE, help="Move to this queue.")
@click.option("--tag", "tags", type=TAG, multiple=True, help='Replace the tags; repeatable, "" removes all.')
@click.option(
    "--after", type=job_id_type(), multiple=True, help='Replace what must complete first; repeatable, "" removes all.'
)
@click.option(
    "--after-any", type=job_id_type(), multiple=True, help='Replace what must finish first; repeatable, "" removes all.'
)
@change_options("edit", EDIT_SELECTION)
def edit_command(context: Context, /, *, ids: Sequence[str], dry_run: bool, **options: Any) -> Done:
    """Change jobs that have not finished.

    While a job runs, only --priority, --timeout and --max-retries can be changed. A new timeout counts from the start
    of the running attempt; on dask, it applies from the next attempt on. Several ids: all or none. --queue and --tag
    are new values; --in-queue and --with-tag select jobs.
    """
    queue = context.queue()
    chosen = choose(queue, ids, {name: options.pop(name) for name in EDIT_SELECTION}, required=True)
    changes = {name: value for name, value in options.items() if value not in (None, ())}
    for name in _EDITED_LISTS:
        if name in changes:
            changes[name] = [each for each in changes[name] if each]
    for name in {"after", "after_any"}.intersection(changes):
        changes[name] = find_ids(queue, changes[name])
    ids = queue.edit(*chosen.ids, dry_run=dry_run, **chosen.selection, **changes)
    return changed(queue, ids, "edited", chosen, dry_run=dry_run)


@queuectl_command("list")
def _list_dead(context: Context) -> Listing:
    """List dead jobs, most recent first."""
    from queuectl_nb.commands.list import list_jobs
    from queuectl_nb.store.job_filter import Filter

    return list_jobs(context.queue(), Filter(state=(State.DEAD,)), DEAD_COLUMNS, NO_DEAD)


def _dead_jobs(action: str) -> Callable[[Callable[..., Done]], Callable[..., Done]]:
    """Add the ids or selection of dead jobs, or ``--all``."""
    everything = click.option("--all", "everything", is_flag=True, help="All dead jobs.")
    return lambda function: change_options(action)(everything(function))


@queuectl_command("retry", examples=["queuectl dlq retry job-1", "queuectl dlq retry --all"])
@_dead_jobs("dlq retry")
def _retry_dead(context: Context, ids: Sequence[str], *, everything: bool, dry_run: bool, **selection: Any) -> Done:
    """Move dead jobs back to the queue with a fresh retry budget.

    Give ids, a selection, or --all. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection)
    ids = queue.retry_dead(*chosen.ids, all=everything, dry_run=dry_run, **chosen.selection)
    empty = NO_MATCH if chosen.selection else NO_DEAD
    return changed(queue, ids, "moved back to queue for retry", chosen, dry_run=dry_run, empty=empty)


@queuectl_command("purge", examples=["queuectl dlq purge job-1", "queuectl dlq purge --all"])
@_dead_jobs("dlq purge")
def _purge_dead(context: Context, ids: Sequence[str], *, everything: bool, dry_run: bool, **selection: Any) -> Done:
    """Delete dead jobs.

    Give ids, a selection, or --all. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection)
    dead = queue.jobs(state=State.DEAD) if context.wants_value else None
    gone = queue.purge_dead(*chosen.ids, all=everything, dry_run=dry_run, **chosen.selection)
    empty = NO_MATCH if chosen.selection else NO_DEAD
    value = partial(_rows, dead, gone)
    return summary(gone, "removed from the DLQ", chosen, lambda: gone, value, dry_run=dry_run, empty=empty)


def _rows(frame: pd.DataFrame | None, ids: Sequence[str]) -> pd.DataFrame | None:
    """Return the rows of these jobs; those that died after the frame was read have none."""
    return None if frame is None else frame[frame.index.isin(ids)]


dlq_command = command_group("dlq", "Manage the dead letter queue.", _list_dead, _retry_dead, _purge_dead)
