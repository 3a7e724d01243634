"""``init``: create a queue for this directory."""

from __future__ import annotations

from pathlib import Path

from queuectl_nb.client.enqueue import current_dir
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.model.errors import BadEnvironment, BadInput
from queuectl_nb.store.paths import FILE_NAME, PROJECT_DIR
from queuectl_nb.store.queue_files import make_private_dir

__all__ = ["command"]


@queuectl_command("init", db_options=False)
def command(context: Context) -> Done:
    """Create a queue in .queuectl/ in this directory.

    Commands in this directory and below use it from then on.
    """
    if context.db is not None:
        msg = "init creates .queuectl/ in this directory; a queue named with --db is created when it is first used"
        raise BadInput(msg)
    folder = Path(current_dir()) / PROJECT_DIR
    path = folder / FILE_NAME
    existed = path.exists()
    make_private_dir(folder)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        try:
            ignore.touch(0o600)
            ignore.write_text("*\n", "utf-8")  # a queue does not belong in version control
        except OSError as error:
            raise BadEnvironment(f"cannot write {ignore}: {error.strerror}") from error
    context.db = str(path)
    context.queue(create=True)
    line = f"Queue already exists: {path}" if existed else f"Queue created: {path}"
    return Done([line], lambda: {"path": str(path)})
