"""Loading and unloading the IPython extension. Workers keep running in either case."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from queuectl_nb.client import display_hook
from queuectl_nb.client.live_cards import card_updater
from queuectl_nb.notebook.completion import Matcher
from queuectl_nb.notebook.magics import QueuectlMagics
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.lib.pretty import RepresentationPrinter

__all__ = ["EmptyCellTransformer", "load", "unload"]

MAGIC = "queuectl"
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
        shell.magics_manager.magics[kind].pop(MAGIC, None)
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
