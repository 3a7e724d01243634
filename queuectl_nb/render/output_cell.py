"""Outputs of a notebook that can be updated."""

from __future__ import annotations

import sys
import uuid
from typing import Any

__all__ = ["OutputCell", "has_frontend", "new_output_cell"]


class OutputCell:
    """One output of a notebook cell that any thread may update at any time, also while another cell runs.

    It is a display with an id, so that the front end, a saved notebook and nbconvert keep the last version.
    """

    def __init__(self, shell: Any) -> None:
        """Write through ``shell``."""
        self._shell = shell
        self._id = uuid.uuid4().hex
        self.shown = False

    def write(self, html: str, text: str) -> None:
        """Show the content: first below the output of the running cell, then in the same place."""
        data = {"text/plain": text} | ({"text/html": html} if html else {})
        self._shell.display_pub.publish(data, {}, transient={"display_id": self._id}, update=self.shown)
        self.shown = True

    def clear(self) -> None:
        """Remove the content."""
        if self.shown:
            data = {"text/html": "", "text/plain": ""}
            self._shell.display_pub.publish(data, {}, transient={"display_id": self._id}, update=True)


def _shell() -> Any:
    """Return the shell of this kernel, or None if this process is not a kernel; does not import IPython."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if hasattr(shell, "kernel") else None


def has_frontend() -> bool:
    """Return True in a kernel, whether or not its output is captured."""
    return _shell() is not None


def new_output_cell() -> OutputCell | None:
    """Return a new output, or None outside of a kernel or if the output is captured."""
    shell = _shell()
    if shell is None:
        return None
    from IPython.core.displaypub import CapturingDisplayPublisher

    return None if isinstance(shell.display_pub, CapturingDisplayPublisher) else OutputCell(shell)
