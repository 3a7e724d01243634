"""Loading and unloading the IPython extension. Workers know nothing of it: they go on, loaded or not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from queuectl_nb.client.live_cards import card_updater
from queuectl_nb.notebook.completion import Matcher
from queuectl_nb.notebook.emptycell import EmptyCell
from queuectl_nb.notebook.magics import QueuectlMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]

MAGIC = "queuectl"


def load(shell: InteractiveShell) -> None:
    """Give a shell the magics and their completion."""
    unload(shell)
    magics = QueuectlMagics(shell)
    shell.register_magics(magics)
    shell.configurables.append(magics)  # type: ignore[arg-type]  # %config changes what is listed there
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(Matcher(magics))
    shell.input_transformers_cleanup.append(EmptyCell())


def unload(shell: InteractiveShell) -> None:
    """Take back what :func:`load` gave; cards and dashboards on the page are no longer kept current."""
    card_updater.stop()
    if dashboard := sys.modules.get("queuectl_nb.notebook.dashboard.dashboard"):
        dashboard.close_all()
    kinds = shell.magics_manager.magics
    for kind in ("line", "cell"):
        kinds[kind].pop(MAGIC, None)
    shell.magics_manager.registry.pop(QueuectlMagics.__name__, None)
    for magics in [each for each in shell.configurables if isinstance(each, QueuectlMagics)]:
        magics.queues.close()
        shell.configurables.remove(magics)
    if shell.Completer is not None:
        matchers = shell.Completer.custom_matchers
        matchers[:] = [each for each in matchers if not isinstance(each, Matcher)]
    transformers = shell.input_transformers_cleanup
    transformers[:] = [each for each in transformers if not isinstance(each, EmptyCell)]
