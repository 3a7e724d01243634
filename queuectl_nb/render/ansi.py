"""What a job wrote as HTML: everything escaped, its colours as classes, progress bars as their last state."""

from __future__ import annotations

import re
from html import escape

__all__ = ["to_html"]

_SGR = re.compile("\x1b\\[([0-9;:]*)m")
_NAMES = {1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "inverse", 9: "struck"}
_ENDS = {22: (1, 2), 23: (3,), 24: (4,), 27: (7,), 29: (9,)}
_EXTENDED = {5: 2, 2: 4}
"""After 38 and 48: the kind of colour, and how many numbers it takes with itself."""
_BASIC = 16
_DIGITS = 4
"""Of a number; longer ones mean nothing, and a job may write any length."""


class _Style:
    """The colours and marks in force."""

    def __init__(self) -> None:
        self.marks: set[int] = set()
        self.fore: int | None = None
        self.back: int | None = None

    def clear(self) -> None:
        """Go back to plain text."""
        self.marks.clear()
        self.fore = self.back = None

    def take(self, numbers: list[int]) -> None:
        """Follow one sequence."""
        place = 0
        while place < len(numbers):
            number = numbers[place]
            if number in (38, 48):
                kind = numbers[place + 1] if place + 1 < len(numbers) else 0
                colour = numbers[place + 2] if kind == 5 and place + 2 < len(numbers) else None
                self._colour(number == 38, colour if colour is not None and colour < _BASIC else None)
                place += _EXTENDED.get(kind, 0)
            else:
                self._simple(number)
            place += 1

    def _colour(self, fore: bool, colour: int | None) -> None:
        if fore:
            self.fore = colour
        else:
            self.back = colour

    def _simple(self, number: int) -> None:
        tens, unit = divmod(number, 10)
        if number == 0:
            self.clear()
        elif number in _NAMES:
            self.marks.add(number)
        elif number in _ENDS:
            self.marks.difference_update(_ENDS[number])
        elif tens in (3, 9) and unit < 8:
            self.fore = unit + (8 if tens == 9 else 0)
        elif tens in (4, 10) and unit < 8:
            self.back = unit + (8 if tens == 10 else 0)
        elif number == 39:
            self.fore = None
        elif number == 49:
            self.back = None

    @property
    def classes(self) -> str:
        """The classes that show it."""
        names = [f"qc-{_NAMES[mark]}" for mark in sorted(self.marks)]
        names += [f"qc-fg{self.fore}"] if self.fore is not None else []
        names += [f"qc-bg{self.back}"] if self.back is not None else []
        return " ".join(names)


def _numbers(part: str) -> list[int]:
    """Return what one part of a sequence says; nothing stands for 0, and of a part with colons a colour by number."""
    if ":" not in part:
        return [int(part[:_DIGITS] or 0)]
    first, *rest = part.split(":")
    if first in ("38", "48") and len(rest) > 1 and rest[0] == "5":
        return [int(first), 5, int(rest[1][:_DIGITS] or 0)]
    return [] if first in ("38", "48") else [int(first[:_DIGITS] or 0)]


def to_html(text: str) -> str:
    r"""Return text with colour sequences, and no other escape, as HTML.

    >>> to_html("\x1b[31m<b>\x1b[0m")
    '<span class="qc-fg1">&lt;b&gt;</span>'
    """
    style = _Style()
    parts: list[str] = []
    end = 0
    for found in [*_SGR.finditer(text), None]:
        piece = text[end : found.start() if found else None]
        if piece:
            classes = style.classes
            parts.append(f'<span class="{classes}">{escape(piece)}</span>' if classes else escape(piece))
        if found:
            end = found.end()
            style.take([number for part in found[1].split(";") for number in _numbers(part)])
    return "".join(parts)
