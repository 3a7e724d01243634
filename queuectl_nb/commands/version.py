"""``version``: print the version."""

from __future__ import annotations

from queuectl_nb import __version__
from queuectl_nb.commands.app import PROGRAM, queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done

__all__ = ["command"]


@queuectl_command("version", db_options=False)
def command(_context: Context) -> Done:
    """Print the version."""
    return Done([f"{PROGRAM}, version {__version__}"], lambda: {"version": __version__})
