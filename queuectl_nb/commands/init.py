"""``init``: make a queue for this directory and all below it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from queuectl_nb.client.enqueue import current_dir
from queuectl_nb.commands.ack import Done, no_value
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.model.errors import BadEnvironment, BadInput
from queuectl_nb.store.paths import FILE_NAME, PROJECT_DIR, make_private_dir

if TYPE_CHECKING:
    from queuectl_nb.commands.context import Context

__all__ = ["command"]


@queuectl_command("init", db_options=False)
@click.pass_obj
def command(session: Context) -> Done:
    """Make a queue in .queuectl/ here.

    This directory and those below it use it from then on.
    """
    if session.db is not None:
        msg = "init makes .queuectl/ here; a queue named with --db is made at its first use"
        raise BadInput(msg)
    folder = Path(current_dir()) / PROJECT_DIR
    path = folder / FILE_NAME
    there = path.exists()
    make_private_dir(folder)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        try:
            ignore.write_text("*\n", "utf-8")  # a queue belongs to a machine, not to a repository
        except OSError as error:
            msg = f"cannot write {ignore}: {error.strerror}"
            raise BadEnvironment(msg) from error
    session.db = str(path)
    session.queue()
    line = f"Queue is there already: {path}" if there else f"Queue made: {path}"
    return Done([line], lambda: {"path": str(path)}, no_value)
