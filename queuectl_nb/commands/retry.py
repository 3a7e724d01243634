"""``retry``: run jobs again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.selection import change_options, changed, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.commands.context import Context
    from queuectl_nb.commands.done import Done

__all__ = ["command"]


@queuectl_command("retry", examples=["queuectl retry job-1 job-2", "queuectl retry --tag sweep --state dead --dry-run"])
@change_options("retry")
def command(context: Context, ids: Sequence[str], *, dry_run: bool, **selection: Any) -> Done:
    """Run jobs again now.

    Accepts failed, dead, cancelled and completed jobs; a selection includes completed ones only with --state completed.
    Finished jobs get a fresh retry budget. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection, required=True)
    ids = queue.retry(*chosen.ids, dry_run=dry_run, **chosen.selection)
    return changed(queue, ids, "moved back to queue for retry", chosen, dry_run=dry_run)
