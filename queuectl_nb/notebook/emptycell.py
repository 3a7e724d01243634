"""``%%queuectl enqueue`` with nothing below it comes to us, so that it fails as every other mistake does.

IPython answers an empty cell by itself, with an exception that it shows and does not publish: "Run All", nbclient and
nbval would take such a cell for a good one.
"""

from __future__ import annotations

import re

__all__ = ["EmptyCell"]

_OURS = re.compile(r"%%queuectl(?:\s|$)")


class EmptyCell:
    """A transformer of IPython's input: gives an empty body the newline that lets the magic see it."""

    has_side_effects = True
    """A terminal asks transformers whether a cell is complete; this one would say so before anything was typed."""

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the cell's lines."""
        return [*lines, "\n"] if len(lines) == 1 and _OURS.match(lines[0]) else lines
