"""``cancel``: cancel jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.selection import change_options, changed, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.commands.context import Context
    from queuectl_nb.commands.done import Done

__all__ = ["command"]


@queuectl_command("cancel", examples=["queuectl cancel job-1 job-2", "queuectl cancel --tag sweep --state pending"])
@change_options("cancel")
def command(context: Context, ids: Sequence[str], *, dry_run: bool, **selection: Any) -> Done:
    """Cancel jobs, including running ones.

    Waits until running jobs have stopped. Several ids: all or none.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection, required=True)
    ids = queue.cancel(*chosen.ids, dry_run=dry_run, **chosen.selection)
    return changed(queue, ids, "cancelled", chosen, dry_run=dry_run)
