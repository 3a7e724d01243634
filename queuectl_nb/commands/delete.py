"""``delete``: delete jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from queuectl_nb.commands.ack import Done
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.selection import change_options, choose, lines_of

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
    lines = lines_of(ids, "deleted", each=bool(chosen.ids), dry_run=dry_run)
    return Done(lines, lambda: ids, lambda: frame)
