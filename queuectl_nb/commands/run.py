"""``run``: run a command as a job and follow it, as if in the foreground."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client.run import ForegroundJob
from queuectl_nb.commands import enqueue
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.results import Foreground
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from queuectl_nb.commands.context import Context
    from queuectl_nb.commands.done import Done

__all__ = ["run_command"]

EXAMPLES = ("queuectl run -- python train.py --lr 0.1", "queuectl run -q gpu -t 2h -- python train.py")
NOT_HERE = ("source", "format", "json")
"""Parameters of ``enqueue`` that ``run`` does not have."""
DEFAULTS = {"max_retries": 1}
"""Fields of the job that the user does not give: what runs in the foreground is not repeated unasked."""


@queuectl_command("run", cls=enqueue.EnqueueCommand, examples=EXAMPLES, format_options=False, db_options=False)
def run_command(context: Context, **options: Any) -> Foreground:
    """Add a job, follow its output, and exit with its code.

    The command has one attempt, unless --max-retries gives it more. Starts a worker if none serves the queue of the
    job; that worker ends after the job. Ctrl+C asks whether to leave the job running, a second Ctrl+C cancels it. The
    exit code is that of the command, 128+N after signal N, 124 after a timeout; see 'queuectl help exit-codes'.
    """
    if options["words"] is None and context.cell is None and not (options["command"] or options["arguments"]):
        raise BadInput(f"give the command: {context.program} run -- COMMAND")
    start = time.time()
    added: Done = click.get_current_context().invoke(enqueue.enqueue_command, defaults=DEFAULTS, **options)
    return Foreground(ForegroundJob(context.queue(), added.value().id, start), added)


run_command.params += [param for param in enqueue.enqueue_command.params if param.name not in NOT_HERE]
