"""Small lines of numbers: as characters for terminals, as SVG for pages."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["points_of", "sparkline", "sparkline_svg"]

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 20
"""Characters of a line."""
SVG_WIDTH, SVG_HEIGHT = 120, 24


def points_of(values: Sequence[float], count: int) -> list[float]:
    """Return up to ``count`` finite values that are spread evenly over all, the last one included."""
    found = [each for each in values if math.isfinite(each)]
    if len(found) <= count:
        return found
    return [found[(len(found) - 1) * number // (count - 1)] for number in range(count)]


def _scaled(values: Sequence[float]) -> list[float]:
    """Return values from 0 to 1; a constant is in the middle."""
    low, high = min(values), max(values)
    span = high / 2 - low / 2  # halves: the difference of two floats may be infinite
    return [(each / 2 - low / 2) / span if span else 0.5 for each in values]


def sparkline(values: Sequence[float]) -> str:
    """Return a line of characters.

    >>> sparkline([0, 1, 2, 3, 4, 5, 6, 7])
    '▁▂▃▄▅▆▇█'
    >>> sparkline([3, 3])
    '▄▄'
    """
    shown = points_of(values, WIDTH)
    return "".join(LEVELS[int(each * (len(LEVELS) - 1))] for each in _scaled(shown)) if shown else ""


def sparkline_svg(values: Sequence[float]) -> str:
    """Return an SVG polyline; empty without two finite values."""
    shown = points_of(values, SVG_WIDTH)
    if len(shown) < 2:
        return ""
    width, height = SVG_WIDTH - 2, SVG_HEIGHT - 4
    points = " ".join(
        f"{1 + width * number / (len(shown) - 1):.1f},{2 + height * (1 - each):.1f}"
        for number, each in enumerate(_scaled(shown))
    )
    return (
        f'<svg viewBox="0 0 {SVG_WIDTH} {SVG_HEIGHT}" width="{SVG_WIDTH}" height="{SVG_HEIGHT}" aria-hidden="true">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )
