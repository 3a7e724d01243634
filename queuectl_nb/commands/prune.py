"""``prune``: delete old jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.ack import Done
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import Choice, Parsed
from queuectl_nb.model import validation
from queuectl_nb.model.state import FINISHED_STATES, State

if TYPE_CHECKING:
    from queuectl_nb.commands.context import Context

__all__ = ["command"]

FINISHED_STATE = Choice("finished state", [state for state in State if state in FINISHED_STATES])


@queuectl_command("prune", examples=["queuectl prune --older-than 7d --state completed"])
@click.option(
    "--older-than",
    required=True,
    type=Parsed("AGE", validation.parse_age),
    help="Minimum age since the job finished: 7d, 12h, 90m, 30s or 0.",
)
@click.option("--state", type=FINISHED_STATE, help="Delete only jobs in this state.")
def command(context: Context, older_than: float, state: str | None) -> Done:
    """Delete finished jobs older than a given age.

    Their history is deleted, too.
    """
    removed = context.queue().prune(older_than, state)
    return Done([f"{removed} job(s) removed."], lambda: {"removed": removed})
