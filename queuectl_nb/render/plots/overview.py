"""All plots of a queue in one figure, and figures as image files."""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.plots import axes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["overview", "to_png", "write_figure"]

ROW_HEIGHT_IN = 0.34
MIN_HEIGHT_IN = 1.6
DPI = 200
"""Twice the resolution of a page, for high-density screens."""


def overview(plots: Sequence[Callable[[Axes], Axes]]) -> Figure:
    """Draw each of ``plots`` into axes of its own, one below the other, as high as its rows need."""
    axes.require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(axes.FIGURE_WIDTH_IN, 8), layout="constrained")
    grid = figure.add_gridspec(len(plots), 1, hspace=0.08)
    heights = []
    for position, plot in enumerate(plots):
        ax = plot(figure.add_subplot(grid[position]))
        low, high = sorted(ax.get_ylim())
        has_rows = ax.yaxis_inverted()
        wanted = max(MIN_HEIGHT_IN, ROW_HEIGHT_IN * (high - low) + 0.5)
        heights.append(min(6.0, wanted) if has_rows else MIN_HEIGHT_IN + 0.4)
    grid.set_height_ratios(heights)
    figure.set_figheight(sum(heights) + 0.5)
    return figure


def write_figure(draw: Callable[[], Figure], path: str) -> None:
    """Draw a figure and write it in the format of the file's extension.

    Raises
    ------
    BadInput
        The extension is not a format that matplotlib can write.
    """
    axes.require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    formats = FigureCanvasAgg.get_supported_filetypes()
    extension = PurePath(path).suffix.removeprefix(".").lower()
    if extension not in formats:
        raise BadInput(f"--plot {path!a}: unknown image format; valid extensions: {', '.join(sorted(formats))}")
    draw().savefig(path, dpi=DPI, format=extension)


def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    return buffer.getvalue()
