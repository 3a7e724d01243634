"""How many attempts end a minute, over time, by how they ended."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from queuectl_nb.render.plots import axes, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

__all__ = ["Slices", "slices", "throughput"]

TITLE = "Attempts that ended per minute"
MOST = 75
"""Bars of a picture."""
SHORTEST = 5.0
"""Seconds of a bar, at least."""
HIGH = 2.8
"""Inches of the picture."""

Slices = tuple[float, float]
"""When the first bar begins (epoch seconds), and how long each is."""


def slices(first: float, last: float) -> Slices:
    """Return bars that fit the time from ``first`` to ``last``, of a length that people count in."""
    each = max(SHORTEST, ticks.step(last - first, MOST))
    return math.floor(first / each) * each, each


def throughput(cut: Slices | None, last: float, ends: Sequence[tuple[int, str, int]], ax: Axes | None) -> Axes:
    """Draw the attempts that ended in each slice up to epoch second ``last``; return the axes."""
    ax = axes.axes(ax, HIGH)
    if cut is None or not ends:
        return axes.nothing(ax, TITLE)
    start, slice_s = cut
    count = max(place for place, _, _ in ends) + 1
    heights: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for place, outcome, number in ends:
        heights.setdefault(outcome, np.zeros(count))[place] += number * 60 / slice_s
    left = axes.days(start + slice_s * np.arange(count))
    width = slice_s / 86_400
    below = np.zeros(count)
    for name in axes.outcome_looks(list(heights)):
        look = axes.LOOKS[name]
        ax.bar(
            left,
            heights[name],
            width,
            bottom=below,
            align="edge",
            color=look.colour,
            hatch=look.hatch,
            edgecolor=ax.get_facecolor(),
            linewidth=0.6,
            label=look.name,
        )
        below += heights[name]
    ax.set_ylim(0, float(below.max()) * 1.08)
    axes.clock_axis(ax, start, max(last, start + slice_s * count))
    axes.tidy(ax, TITLE, f"bars of {ticks.label(slice_s)}", grid="y")
    axes.legend(ax, heights)
    return ax
