"""``backup``: write a copy of the queue to a file."""

from __future__ import annotations

import click

from queuectl_nb.commands.ack import Done
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.params import FILE

__all__ = ["command"]


@queuectl_command("backup", examples=["queuectl backup /backups/queue.db"])
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def command(context: Context, file: str, *, force: bool) -> Done:
    """Write a copy of the queue to FILE.

    The copy is consistent even while workers run. It does not contain output longer than output_limit.
    """
    from queuectl_nb.store.backup import write_backup

    path, jobs = write_backup(context.queue().store.db, file, force=force)
    line = f"Backup written: {file} ({jobs} {'job' if jobs == 1 else 'jobs'})"
    return Done([line], lambda: {"path": str(path), "jobs": jobs}, lambda: path)
