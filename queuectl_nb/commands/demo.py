"""``demo``: the five test flows that every release must pass, on a throw-away queue with real workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.results import Stream
from queuectl_nb.model.errors import JobFailed

if TYPE_CHECKING:
    from queuectl_nb.commands.context import Context

__all__ = ["command"]


@queuectl_command("demo", format_options=False, db_options=False)
@click.pass_obj
def command(session: Context) -> Stream:
    """Play five test flows on a throw-away queue.

    Takes less than 40 seconds; the exit code is 1 if one of them fails.
    """
    from queuectl_nb.commands.demo_runner import DemoRunner

    stage = DemoRunner(session.open_queue)
    return Stream(stage.run_flows(), lambda: JobFailed.exit_code if stage.failures else 0)
