"""``edit``: change fields of jobs that have not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import QUEUE, TAG, TextParam, find_ids, job_id_type
from queuectl_nb.commands.selection import OPTIONS, change_options, changed, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.commands.context import Context
    from queuectl_nb.commands.done import Done

__all__ = ["command"]

EXAMPLES = (
    "queuectl edit job-1 --timeout 2h",
    'queuectl edit job-1 job-2 --priority 5 --after ""',
    "queuectl edit --with-tag sweep --state pending --queue gpu",
)
SELECTION = {
    "state": OPTIONS["state"],
    "in_queue": click.option("--in-queue", type=QUEUE, help="Only jobs of this queue."),
    "with_tag": click.option("--with-tag", type=TAG, help="Only jobs with this tag."),
    "error": OPTIONS["error"],
    "search": OPTIONS["search"],
}
"""Named otherwise than in other commands where ``--queue`` and ``--tag`` are new values."""
_LISTS = ("tags", "after", "after_any")


@queuectl_command("edit", examples=EXAMPLES)
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
@change_options("edit", SELECTION)
def command(context: Context, /, *, ids: Sequence[str], dry_run: bool, **options: Any) -> Done:
    """Change jobs that have not finished.

    While a job runs, only --priority, --timeout and --max-retries can be changed. A new timeout counts from the start
    of the running attempt; on dask, it applies from the next attempt on. Several ids: all or none. --queue and --tag
    are new values; --in-queue and --with-tag select jobs.
    """
    queue = context.queue()
    chosen = choose(queue, ids, {name: options.pop(name) for name in SELECTION}, required=True)
    changes = {name: value for name, value in options.items() if value not in (None, ())}
    for name in _LISTS:
        if name in changes:
            changes[name] = [each for each in changes[name] if each]
    for name in {"after", "after_any"}.intersection(changes):
        changes[name] = find_ids(queue, changes[name])
    ids = queue.edit(*chosen.ids, dry_run=dry_run, **chosen.selection, **changes)
    return changed(queue, ids, "edited", chosen, dry_run=dry_run)
