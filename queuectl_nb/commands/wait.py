"""``wait``: wait until jobs have finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client.wait import Progress, Wait
from queuectl_nb.client.workers import list_workers
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import JobId, TextParam
from queuectl_nb.commands.results import PendingWait
from queuectl_nb.model import validation
from queuectl_nb.model.state import UNFINISHED_STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.commands.context import Context

__all__ = ["command"]


@queuectl_command("wait")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=JobId(UNFINISHED_STATES))
@click.option(
    "--timeout",
    type=TextParam(),
    metavar="SECONDS",
    help="Stop waiting after this time (exit code 4); the jobs continue.",
)
@click.pass_obj
def command(context: Context, ids: Sequence[str], timeout: str | None) -> PendingWait:
    """Wait until jobs have finished.

    Without ids, wait for all jobs. The exit code is 1 if one of them did not complete.
    """
    limit = None if timeout is None else validation.parse_number("--timeout", timeout)
    queue = context.queue()
    waiting = Wait(queue, list(ids) or None, limit)
    notes = []
    if waiting.read_progress().remaining and not any(worker["state"] != "lost" for worker in list_workers(queue.store)):
        notes.append("no workers are running on this queue; start some with 'queuectl worker start'")
    return PendingWait(waiting, notes, _lines, _data)


def _lines(progress: Progress) -> Sequence[str]:
    """Return the result of the wait as text."""
    counts = [f"{n} {state}" for state, n in progress.finished.items() if n]
    return [f"{progress.finished_count} job(s) finished" + (f": {', '.join(counts)}." if counts else ".")]


def _data(progress: Progress) -> dict[str, Any]:
    return {"counts": {str(state): n for state, n in progress.finished.items()}}
