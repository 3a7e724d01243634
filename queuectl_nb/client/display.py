"""The page of a notebook, where this process is its kernel: places on it that can be written again."""

from __future__ import annotations

import sys
import uuid
from typing import Any

__all__ = ["OutputCell", "has_frontend", "new_output_cell"]


class OutputCell:
    """One output of a cell, which any thread may write again at any time, also while another cell runs.

    It is a display with an id, so that the page, a saved notebook and nbconvert keep the last thing that was written.
    """

    def __init__(self, shell: Any) -> None:
        """Write through ``shell``."""
        self._shell = shell
        self._id = uuid.uuid4().hex
        self.shown = False

    def write(self, html: str, text: str) -> None:
        """Show this: the first time below what the running cell has written, then in the same place."""
        data = {"text/plain": text} | ({"text/html": html} if html else {})
        self._shell.display_pub.publish(data, {}, transient={"display_id": self._id}, update=self.shown)
        self.shown = True

    def clear(self) -> None:
        """Show nothing in this place."""
        if self.shown:
            data = {"text/html": "", "text/plain": ""}
            self._shell.display_pub.publish(data, {}, transient={"display_id": self._id}, update=True)


def _shell() -> Any:
    """Return the kernel's shell; None where this process is none.

    Asks only whether IPython is here already: a script or a terminal must not load it for this.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if hasattr(shell, "kernel") else None


def has_frontend() -> bool:
    """Tell whether what is displayed reaches the page of a notebook, captured or not."""
    return _shell() is not None


def new_output_cell() -> OutputCell | None:
    """Return a new place on the page; None where there is no page: no kernel, or its output is captured."""
    shell = _shell()
    if shell is None:
        return None
    from IPython.core.displaypub import CapturingDisplayPublisher

    return None if isinstance(shell.display_pub, CapturingDisplayPublisher) else OutputCell(shell)
