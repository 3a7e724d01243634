"""Output of a job as text that a notebook shows readably."""

from __future__ import annotations

from typing import Any

from queuectl_nb.render.ansi import fold_returns, strip_colours, to_html
from queuectl_nb.render.card_parts import Html, Rendering, fill, frame
from queuectl_nb.render.log_header import EMPTY

__all__ = ["LogText"]

MAX_SHOWN_CHARS = 256 * 1024
"""Only the end of a longer text is shown."""


class LogText(str):
    """A string whose display wraps lines, folds overwritten ones, and is scrolled to the end."""

    __slots__ = ()

    def _folded(self) -> str:
        return fold_returns(self[-MAX_SHOWN_CHARS:].encode("utf-8", "replace"))

    def _repr_html_(self) -> str:
        pre = fill("pre", kind="output", text=Html(to_html(self._folded()) or EMPTY))
        return frame([Rendering(fill("tail", body=pre), "")]).html

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(strip_colours(self._folded()) or EMPTY)
