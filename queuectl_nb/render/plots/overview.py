"""All pictures of a queue on one sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.render.plots import axes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["overview"]

ROW = 0.34
LEAST = 1.6
"""Inches of a picture: for a row, and at least."""


def overview(draw: Sequence[Callable[[Axes], Axes]]) -> Figure:
    """Let each of ``draw`` fill axes of its own, below one another, as high as its rows need."""
    axes.require()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(axes.WIDE, 8), layout="constrained")
    grid = figure.add_gridspec(len(draw), 1, hspace=0.08)
    high = []
    for place, fill in enumerate(draw):
        ax = fill(figure.add_subplot(grid[place]))
        low, top = sorted(ax.get_ylim())
        by_rows = ax.yaxis_inverted()
        high.append(min(6.0, max(LEAST, ROW * (top - low) + 0.5)) if by_rows else LEAST + 0.4)
    grid.set_height_ratios(high)
    figure.set_figheight(sum(high) + 0.5)
    return figure
