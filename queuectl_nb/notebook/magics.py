"""``%queuectl`` and ``%%queuectl``: the console's command tree in a cell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from traitlets import Unicode

from queuectl_nb.commands.app import run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.notebook.errors import one_line_errors
from queuectl_nb.notebook.magic_line import read, verb_of, words_of
from queuectl_nb.notebook.present import present
from queuectl_nb.notebook.queues import OpenQueues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["HELP", "QueuectlMagics"]

HELP = """
In a notebook:
  --var NAME             Fill {NAME} with the notebook's variable, quoted for the shell; {NAME:raw} as it
                         stands, {{ for a brace. Repeatable.
  %%queuectl enqueue     The cell below is the command, verbatim.
  %%queuectl enqueue --python
                         The cell runs as Python in a process of its own, with this kernel's interpreter;
                         a variable of --var is one of its own there.
"""
"""What ``enqueue --help`` says besides, where there are cells."""


@magics_class
class QueuectlMagics(Magics):
    """The magics of a shell, with the queues that it has open."""

    db = Unicode(
        None, allow_none=True, help="The queue's file where --db names none; $QUEUECTL_DB and the rest come after it."
    ).tag(config=True)

    def __init__(self, shell: InteractiveShell, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self.queues = OpenQueues()

    def session(self, words: Sequence[str] = ()) -> Context:
        """Return the session of one line."""
        session = Context(self.queues)
        session.wants_value = True
        if verb_of(words) != "init":  # which makes the queue of a directory, whatever is configured
            session.db = self.db or None
        return session

    @property
    def namespace(self) -> Mapping[str, object]:
        """The notebook's variables."""
        return {} if self.shell is None else self.shell.user_ns

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def queuectl(self, line: str, cell: str | None = None, local_ns: Mapping[str, object] | None = None) -> object:
        """Run a queuectl command: `%queuectl --help` lists them.

        `%queuectl enqueue --command "python train.py"`, `%queuectl worker start --count 2`, `%queuectl wait`,
        `df = %queuectl list --state dead`, `%queuectl log ID`. Under `%%queuectl enqueue [OPTIONS]` the cell is the
        command, with `--python` a program. `--var NAME` fills `{NAME}` from the notebook.
        """
        with one_line_errors():
            given = read(line)
            # in a function its own variables go before the notebook's
            words = words_of(given, cell, {**self.namespace, **local_ns} if local_ns else self.namespace)
            verb = verb_of(words)
            session = self.session(words)
            try:
                return present(run_command_line(words, session), session.format)
            finally:
                if verb == "enqueue" and {"--help", "-h"} & set(words):
                    sys.stdout.write(HELP)
        return None
