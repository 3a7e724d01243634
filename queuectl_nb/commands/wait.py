"""``wait``: wait until jobs have finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from queuectl_nb.client.hints import empty_hints
from queuectl_nb.client.selection import choose_jobs, selected_ids
from queuectl_nb.client.wait import Wait
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.params import Parsed
from queuectl_nb.commands.results import PendingWait
from queuectl_nb.commands.selection import choose, selection_options
from queuectl_nb.model import validation
from queuectl_nb.model.state import UNFINISHED_STATES

__all__ = ["wait_command"]


@queuectl_command(
    "wait", examples=["queuectl wait", "queuectl wait job-1 job-2 --timeout 600", "queuectl wait --tag sweep"]
)
@selection_options(UNFINISHED_STATES)
@click.option(
    "-t",
    "--timeout",
    type=Parsed("DURATION", validation.parse_duration),
    help="Stop waiting after this time (exit code 4); the jobs continue.",
)
def wait_command(context: Context, ids: Sequence[str], *, timeout: float | None, **selection: Any) -> PendingWait:
    """Wait until jobs have finished.

    Without ids or a selection, wait for all jobs. The exit code is 1 if one of them did not complete.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection)
    names = selected_ids(queue.store, choose_jobs(*chosen)) if any(chosen) else None
    waiting = Wait(queue, names, timeout)
    return PendingWait(waiting, waiting.hints(context.program) or empty_hints(queue.store))
