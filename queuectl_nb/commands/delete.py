"""``delete``: delete jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.selection import change_options, choose, summary

if TYPE_CHECKING:
    from queuectl_nb.commands.done import Done

__all__ = ["command"]


@queuectl_command("delete", examples=["queuectl delete job-1 job-2", "queuectl delete --queue old --dry-run"])
@change_options("delete")
def command(context: Context, ids: Sequence[str], *, dry_run: bool, **selection: Any) -> Done:
    """Delete jobs with their history.

    Running jobs cannot be deleted. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection, required=True)
    frame = queue.jobs(ids=queue.delete(*chosen.ids, dry_run=True, **chosen.selection)) if context.wants_value else None
    ids = queue.delete(*chosen.ids, dry_run=dry_run, **chosen.selection)
    return summary(ids, "deleted", chosen, lambda: ids, lambda: frame, dry_run=dry_run)
