"""The IPython extension: ``%queuectl`` and ``%%queuectl`` run the command tree in a cell."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from traitlets import Unicode

from queuectl_nb.client import display_hook
from queuectl_nb.client.hints import MAGIC
from queuectl_nb.client.live_cards import card_updater
from queuectl_nb.client.queue import Queue
from queuectl_nb.commands.app import run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.notebook.magic_line import CELL_VERBS, Matcher, build_arguments, parse_line, read_cell, verb_of
from queuectl_nb.notebook.present import one_line_errors, present
from queuectl_nb.render.text_table import visible
from queuectl_nb.store.paths import find_queue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell
    from IPython.lib.pretty import RepresentationPrinter

__all__ = ["EmptyCellTransformer", "OpenQueues", "QueuectlMagics", "load", "unload"]

MAGIC_NAME = "queuectl"
BACKGROUND_MAGIC = "bg"
"""Registered unless there is another magic with this name."""
FRAME_TYPES = (
    ("pandas", "DataFrame"),
    ("pandas", "Series"),
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.series", "Series"),
)
"""Module and name, by which IPython finds them without importing pandas; the second pair is that of pandas 2."""
_MAGIC_LINE = re.compile(r"%%(?:queuectl|bg)(?:\s|$)")
HELP = """
In a notebook:
  --var NAME             Replace {NAME} by the notebook's variable, quoted for the shell; {NAME:raw} is not
                         quoted, {{ is a brace. Repeatable.
  %%queuectl enqueue     Run the cell below as a shell command; with run instead of enqueue, follow it.
  %%queuectl enqueue --python
                         Run the cell as IPython would, in a new process with this kernel's interpreter.
  --input NAME           Define the notebook's variable there, too, by value (--var does the same). Repeatable.
  --auto-inputs          The same for all variables that the cell reads before it assigns them, up to 256 MiB each.
  %%bg                   Short for %%queuectl enqueue --python --auto-inputs.
"""
"""Appended to the help text of ``enqueue`` and ``run``."""


class OpenQueues:
    """Opens queues for the commands of one shell, and reuses them: one per file."""

    def __init__(self) -> None:
        self._open: dict[tuple[Path, bool], Queue] = {}

    def __call__(self, path: str | None, allow_network_fs: bool, create: bool) -> Queue:
        """Return the queue of ``path``, or the default one; reopen it if its file was replaced."""
        key = (find_queue(path), allow_network_fs)
        queue = self._open.get(key)
        if queue is None or queue.store.db.is_replaced():
            queue = self._open[key] = Queue(path, allow_network_fs=allow_network_fs, create=create)
        return queue

    def close(self) -> None:
        """Close all queues; workers and jobs keep running."""
        for queue in self._open.values():
            queue.close()
        self._open.clear()


@magics_class
class QueuectlMagics(Magics):
    """The magics of a shell, with its open queues."""

    db = Unicode(
        None, allow_none=True, help="File of the queue if --db is not given; takes precedence over $QUEUECTL_DB."
    ).tag(config=True)

    def __init__(self, shell: InteractiveShell, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self.queues = OpenQueues()

    def context(self, words: Sequence[str] = ()) -> Context:
        """Return the context of one line."""
        context = Context(self.queues)
        context.wants_value = True
        context.program = MAGIC
        if verb_of(words) != "init":  # init creates the queue of a directory, whatever is configured
            context.db = self.db or None
        return context

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
        `df = %queuectl list --state dead`, `%queuectl log ID`. Below `%%queuectl enqueue [OPTIONS]` the cell is the
        command, or a Python program with `--python`. `--var NAME` replaces `{NAME}` by the notebook's variable.
        """
        return self._run(line, cell, local_ns)

    @no_var_expand
    @needs_local_scope
    def bg(self, line: str, cell: str, local_ns: Mapping[str, object] | None = None) -> object:
        """Run the cell as a job, with the variables that it reads: `%%queuectl enqueue --python --auto-inputs`.

        Takes the options of `%queuectl enqueue`, such as `--id NAME` and `--timeout 2h`. `job["x"]` is then a variable
        that it assigned, `job.result()` the value of its last expression, and `job.display()` shows its outputs.
        """
        return self._run(f"enqueue --python --auto-inputs {line}", cell, local_ns)

    def _run(self, line: str, cell: str | None, local_ns: Mapping[str, object] | None) -> object:
        with one_line_errors():
            parsed = parse_line(line)
            # variables of the calling function take precedence over the notebook's
            namespace = {**self.namespace, **local_ns} if local_ns else self.namespace
            arguments = build_arguments(parsed, cell, namespace)
            verb = verb_of(arguments)
            context = self.context(arguments)
            if parsed.python and cell is not None and self.shell is not None:
                context.cell = read_cell(parsed, cell, self.shell, namespace)
            try:
                return present(run_command_line(arguments, context), context.format)
            finally:
                if verb in CELL_VERBS and {"--help", "-h"} & set(arguments):
                    sys.stdout.write(HELP)
        return None


class EmptyCellTransformer:
    """Adds an empty line to a ``%%queuectl`` cell without a body, so that the magic is called and can raise.

    IPython answers such a cell itself, with an exception that it shows but does not publish: "Run All", nbclient and
    nbval would treat the cell as successful.
    """

    has_side_effects = True
    """Keeps a terminal from using this to decide whether a cell is complete: it would say yes after the first line."""

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines of the cell."""
        return [*lines, "\n"] if len(lines) == 1 and _MAGIC_LINE.match(lines[0]) else lines


def _print_frame(frame: object, printer: RepresentationPrinter, _cycle: bool) -> None:
    """Show control characters in a DataFrame as escapes: pandas would send those of a job to the terminal."""
    printer.text("\n".join(map(visible, repr(frame).split("\n"))))


def load(shell: InteractiveShell) -> None:
    """Register the magics, their completion, and the text format of DataFrames."""
    unload(shell)
    display_hook.install()
    magics = QueuectlMagics(shell)
    shell.register_magics(magics)
    if BACKGROUND_MAGIC not in shell.magics_manager.magics["cell"]:
        shell.register_magic_function(magics.bg, "cell", BACKGROUND_MAGIC)  # type: ignore[arg-type]
    shell.configurables.append(magics)  # type: ignore[arg-type]  # makes it known to %config
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(Matcher(magics))
    shell.input_transformers_cleanup.append(EmptyCellTransformer())
    if shell.display_formatter is not None:
        for module, name in FRAME_TYPES:
            shell.display_formatter.formatters["text/plain"].for_type_by_name(module, name, _print_frame)


def unload(shell: InteractiveShell) -> None:
    """Undo :func:`load`; live cards and dashboards stop updating."""
    card_updater.stop()
    if dashboard := sys.modules.get("queuectl_nb.notebook.dashboard.dashboard"):
        dashboard.close_all()
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop(MAGIC_NAME, None)
    background = shell.magics_manager.magics["cell"].get(BACKGROUND_MAGIC)
    if isinstance(getattr(background, "__self__", None), QueuectlMagics):
        del shell.magics_manager.magics["cell"][BACKGROUND_MAGIC]
    shell.magics_manager.registry.pop(QueuectlMagics.__name__, None)
    for magics in [each for each in shell.configurables if isinstance(each, QueuectlMagics)]:
        magics.queues.close()
        shell.configurables.remove(magics)
    matchers = [] if shell.Completer is None else shell.Completer.custom_matchers
    for registered in (matchers, shell.input_transformers_cleanup):
        registered[:] = [each for each in registered if not isinstance(each, Matcher | EmptyCellTransformer)]
    if shell.display_formatter is not None:
        for module, name in FRAME_TYPES:
            shell.display_formatter.formatters["text/plain"].pop(f"{module}.{name}", None)
