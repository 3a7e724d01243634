"""Outputs of a notebook that can be updated, and the style sheet that they share."""

from __future__ import annotations

import re
import sys
import threading
import time
import uuid
from collections.abc import Collection
from html import escape
from typing import Any

from queuectl_nb.render.card_parts import Html, Rendering, style_element

__all__ = [
    "OutputCell",
    "SharedStyle",
    "has_frontend",
    "kernel_shell",
    "mark_live",
    "new_output_cell",
    "shared_style",
]

BOTH = ("text/html", "text/plain")
"""The MIME types of a card."""
MAX_CARRIERS = 3
"""Outputs that carry the style sheet at any time."""


_FRAME = re.compile('<div class="queuectl[^">]*"')


def mark_live(card: Rendering, display_id: str, *, live: bool) -> Rendering:
    """Return a card with its display id and, if it is ``live``, an attribute that changes whenever it is written.

    By the first, JupyterLab updates the card again after a reload of the page. It says on cards that keep the second,
    after a restart of the kernel, that they are no longer updated. Other programs, which may not update the card at
    all, show the time.
    """
    marks = f'data-qc-display="{escape(display_id)}"'
    if live:
        marks += f' data-qc-live="{uuid.uuid4().hex}" data-qc-time="as of {time.strftime("%Y-%m-%d %H:%M:%S")}"'
    return card._replace(html=Html(_FRAME.sub(lambda match: f"{match[0]} {marks}", card.html, count=1)))


class SharedStyle:
    """The outputs of this kernel's pages that carry the style sheet of cards; all others are sent without it.

    Those are the first live cards of the last cells that displayed any, so that one may be deleted or cleared.
    """

    def __init__(self) -> None:
        self._carriers: dict[str, tuple[str | None, str | None]] = {}
        """The request and cell of each output, by its display id, oldest first."""

    def __bool__(self) -> bool:
        """Whether an output carries the sheet."""
        return bool(self._carriers)

    def is_in(self, request: str | None) -> bool:
        """Return True if an output of this request carries the sheet."""
        return any(each == request for each, _ in self._carriers.values())

    def add(self, display_id: str, request: str | None, cell: str | None) -> str | None:
        """Let an output carry the sheet; return the id of one that does no longer and is to be sent again."""
        self._carriers[display_id] = request, cell
        if len(self._carriers) <= MAX_CARRIERS:
            return None
        oldest = next(iter(self._carriers))
        del self._carriers[oldest]
        return oldest

    def release(
        self, *, request: str | None = None, cells: Collection[str] = (), display_id: str | None = None
    ) -> None:
        """Forget this output, those of this request, and those of these cells: their content is gone."""
        self._carriers = {
            name: place
            for name, place in self._carriers.items()
            if name != display_id and (request is None or place[0] != request) and place[1] not in cells
        }

    def apply(self, html: str, display_id: str | None) -> str:
        """Return HTML without the sheet if another output has it."""
        if not self._carriers or display_id in self._carriers:
            return html
        return html.replace(style_element(), "")


shared_style = SharedStyle()
"""The instance of this process."""
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
        update, self.shown = self.shown, True  # also if an interrupt comes right after it was published
        _writing.now = True
        try:
            self._publisher.publish(
                {kind: value for kind, value in data.items() if kind in self.kinds},
                {},
                transient={"display_id": self.display_id},
                update=update,
            )
        except Exception:
            self.shown = update
            raise
        finally:
            _writing.now = False

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
