"""Output of a job as text that a notebook shows readably."""

from __future__ import annotations

from typing import Any

from queuectl_nb.render.ansi import fold_returns, strip_colours, to_html
from queuectl_nb.render.card_parts import Html, Rendering, fill, frame
from queuectl_nb.render.log_header import EMPTY

__all__ = ["LogText"]

MAX_SHOWN_CHARS = 256 * 1024
"""Only the end of a longer text is shown."""
MAX_UNSWITCHED_LINE = 80
"""A text with a longer line gets a switch for wrapping: such a line may be wider than a notebook."""


class LogText(str):
    """A string whose display wraps lines, folds overwritten ones, and is scrolled to the end."""

    __slots__ = ()

    def _folded(self) -> str:
        return fold_returns(self[-MAX_SHOWN_CHARS:].encode("utf-8", "replace"))

    def _repr_html_(self) -> str:
        folded = self._folded()
        pre = fill("pre", kind="output", text=Html(to_html(folded) or EMPTY))
        is_wide = any(len(line) > MAX_UNSWITCHED_LINE for line in strip_colours(folded).splitlines())
        parts = [fill("wrap_switch")] * is_wide + [fill("tail", body=pre)]
        return frame([Rendering(part, "") for part in parts]).html

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(strip_colours(self._folded()) or EMPTY)
