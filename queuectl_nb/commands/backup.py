"""``backup``: write a copy of the queue to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import FILE

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store

__all__ = ["command"]


@queuectl_command("backup", examples=["queuectl backup /backups/queue.db"])
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def command(context: Context, file: str, *, force: bool) -> Done:
    """Write a copy of the queue to FILE.

    The copy is consistent even while workers run. It contains neither artifacts nor output longer than
    output_limit.
    """
    from queuectl_nb.store.backup import write_backup

    store = context.queue().store
    path, jobs = write_backup(store.db, file, force=force)
    line = f"Backup written: {file} ({jobs} {'job' if jobs == 1 else 'jobs'})"
    return Done([line], lambda: {"path": str(path), "jobs": jobs}, lambda: path, notes=lambda: _missing(store))


def _missing(store: Store) -> list[str]:
    """Say that artifacts are not in the copy."""
    from queuectl_nb.store.artifacts import count_artifacts

    attempts, _, size = count_artifacts(store.db)
    if not attempts:
        return []
    from queuectl_nb.render.progress import format_size

    which = f"{attempts} attempt{'' if attempts == 1 else 's'} ({format_size(size)})"
    return [f"the artifacts of {which} are not in the backup; copy {store.spool.folder}/*.artifacts to keep them"]
