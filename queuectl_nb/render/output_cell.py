"""Outputs of a notebook that can be updated, and the style sheet that they share."""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Collection
from typing import Any

from queuectl_nb.render.card_parts import style_element

__all__ = ["BOTH", "OutputCell", "SharedStyle", "has_frontend", "kernel_shell", "new_output_cell", "shared_style"]

BOTH = ("text/html", "text/plain")
"""The MIME types of a card."""


class SharedStyle:
    """The output of this kernel's pages that carries the style sheet of cards; all others are sent without it."""

    def __init__(self) -> None:
        self.display_id: str | None = None
        self._place: tuple[str | None, str | None] = (None, None)

    def hold(self, display_id: str, request: str | None, cell: str | None) -> None:
        """Let this output, of a request and a cell, carry the sheet."""
        self.display_id, self._place = display_id, (request, cell)

    def release(self, *, request: str | None = None, cells: Collection[str] = ()) -> None:
        """Forget the output if it was of this request or of one of these cells: its content is gone."""
        if (request is not None and request == self._place[0]) or self._place[1] in cells:
            self.display_id = None

    def apply(self, html: str, display_id: str | None) -> str:
        """Return HTML without the sheet if another output has it."""
        if self.display_id is None or display_id == self.display_id:
            return html
        return html.replace(style_element(), "")


shared_style = SharedStyle()
"""The sheet of the pages of this process."""
_writing = threading.local()


class OutputCell:
    """One output of a notebook cell that any thread may update at any time, also while another cell runs.

    It is a display with an id, so that the front end, a saved notebook and nbconvert keep the last version.
    """

    def __init__(
        self, publisher: Any, display_id: str | None = None, kinds: Collection[str] = BOTH, *, shown: bool = False
    ) -> None:
        """Write through ``publisher``, only ``kinds``; ``shown`` if there is already an output with this id."""
        self._publisher = publisher
        self.display_id = display_id or uuid.uuid4().hex
        self.kinds = frozenset(kinds)
        self.shown = shown

    def write(self, html: str, text: str) -> None:
        """Show the content: first below the output of the running cell, then in the same place."""
        data = {"text/html": shared_style.apply(html, self.display_id), "text/plain": text}
        _writing.now = True
        try:
            self._publisher.publish(
                {kind: value for kind, value in data.items() if kind in self.kinds},
                {},
                transient={"display_id": self.display_id},
                update=self.shown,
            )
        finally:
            _writing.now = False
        self.shown = True

    def clear(self) -> None:
        """Remove the content."""
        if self.shown:
            self.write("", "")

    @staticmethod
    def is_writing() -> bool:
        """Return True in the thread that is writing to an output."""
        return getattr(_writing, "now", False)


def kernel_shell() -> Any:
    """Return the shell of this kernel, or None if this process is not a kernel; does not import IPython."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if hasattr(shell, "kernel") else None


def has_frontend() -> bool:
    """Return True in a kernel, whether or not its output is captured."""
    return kernel_shell() is not None


def new_output_cell() -> OutputCell | None:
    """Return a new output, or None outside of a kernel or if the output is captured."""
    shell = kernel_shell()
    if shell is None:
        return None
    from IPython.core.displaypub import CapturingDisplayPublisher

    publisher = shell.display_pub
    return None if isinstance(publisher, CapturingDisplayPublisher) else OutputCell(publisher)
