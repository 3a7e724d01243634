"""``errors``: show why jobs failed, grouped by reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.client.selection import find_filter
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.results import Listing
from queuectl_nb.commands.selection import choose, selection_options
from queuectl_nb.model.state import State
from queuectl_nb.render.json_shapes import ERROR_GROUP_FIELDS, error_group_json
from queuectl_nb.store.error_groups import read_error_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from queuectl_nb.commands.context import Context

__all__ = ["errors_command"]


@queuectl_command("errors", examples=["queuectl errors --tag sweep"])
@selection_options([State.FAILED, State.DEAD])
def errors_command(context: Context, ids: Sequence[str], **selection: Any) -> Listing:
    """Show why jobs failed.

    Failed and dead jobs are grouped by the reason of their latest attempt, the largest group first. The key of a group
    selects its jobs: 'queuectl retry --error KEY'.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection)
    groups = read_error_groups(queue.store.db, find_filter(queue.store, *chosen))

    def frame() -> pd.DataFrame:
        from queuectl_nb.render.frames import frames

        return frames.error_groups(groups)

    return Listing(
        ERROR_GROUP_FIELDS,
        [(field, field) for field in ERROR_GROUP_FIELDS],
        lambda limit: map(error_group_json, groups[:limit]),
        value=frame,
        empty_text=f"No failed or dead jobs{' match' if any(chosen) else ''}.",
    )
