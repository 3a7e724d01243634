"""``prune``: delete old finished jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done, no_value
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import Choice, TextParam
from queuectl_nb.model import validation
from queuectl_nb.model.state import FINISHED_STATES, State

if TYPE_CHECKING:
    from queuectl_nb.commands.context import Context

__all__ = ["command"]

FINISHED_STATE = Choice("finished state", [state for state in State if state in FINISHED_STATES])


@queuectl_command("prune")
@click.option(
    "--older-than",
    required=True,
    type=TextParam(),
    metavar="D",
    help="Minimum age since the job finished: 7d, 12h, 90m, 30s or 0.",
)
@click.option("--state", type=FINISHED_STATE, help="Delete only jobs in this state.")
@click.pass_obj
def command(context: Context, older_than: str, state: str | None) -> Done:
    """Delete finished jobs older than a given age, with their history."""
    removed = context.queue().prune(validation.parse_age("--older-than", older_than), state)
    return Done([f"{removed} job(s) removed."], lambda: {"removed": removed}, no_value)
