"""Attempts over time, one row per worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from queuectl_nb.model.job import natural_key
from queuectl_nb.render.plots import axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from queuectl_nb.store.attempt_history import Spans

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int64]

__all__ = ["Bars", "busy_fractions", "timeline"]

TITLE = "Attempts by worker"
MIN_BAR_FRACTION = 1 / 900
"""Smallest width of a bar, as a fraction of the axis: the shortest attempt stays visible."""
TIME_SLICES = 200
"""If a row has more attempts than this, fractions of that many time slices replace the bars."""
ROW_HEIGHT_IN = 0.3
MAX_HEIGHT_IN = 12.0
MAX_LABELS = 48
_HALF_BAR = 0.38
"""Half of a bar's height, in rows."""


class Bars(NamedTuple):
    """Bars of one outcome: row, start and end (epoch seconds) of each."""

    rows: Rows
    started: Floats
    finished: Floats


def timeline(spans: Spans, ax: Axes | None) -> Axes:
    """Draw the attempts of ``spans`` and return the axes."""
    names = sorted(spans.workers, key=natural_key)
    ax = axes.make_axes(ax, min(MAX_HEIGHT_IN, 1.0 + ROW_HEIGHT_IN * max(2, len(names))))
    if not spans.worker:
        return axes.draw_empty(ax, TITLE)
    rows = np.array([names.index(name) for name in spans.workers])[np.asarray(spans.worker)]
    started = np.asarray(spans.started_at)
    finished = np.maximum(started, np.asarray(spans.finished_at))  # a clock may have been set back
    outcome = np.asarray(spans.outcome)
    by_outcome = {}
    for name in axes.sort_outcomes(spans.outcomes):
        selected = outcome == spans.outcomes.index(name)
        by_outcome[name] = Bars(rows[selected], started[selected], finished[selected])
    first, last = float(started.min()), float(finished.max())
    dense = int(np.bincount(rows).max()) > TIME_SLICES
    if dense:
        _draw_fractions(ax, by_outcome, len(names), np.linspace(first, last, TIME_SLICES + 1))
    else:
        for name, bars in by_outcome.items():  # failures cover successes
            ends = axes.to_dates(np.maximum(bars.finished, bars.started + (last - first) * MIN_BAR_FRACTION))
            _draw_boxes(ax, name, (axes.to_dates(bars.started), ends, bars.rows + _HALF_BAR, bars.rows - _HALF_BAR))
    ax.set_ylim(len(names) - 0.5, -0.5)
    every = -(-len(names) // MAX_LABELS)
    ax.set_yticks(range(0, len(names), every), [axes.shorten_label(name) for name in names[::every]], fontsize="small")
    axes.set_time_axis(ax, first, last)
    note = f"{len(started):,} attempts" if len(started) > 1 else ""
    axes.decorate(ax, TITLE, f"{note}, fractions of time" if dense else note)
    axes.add_legend(ax, by_outcome, hatched=not dense)
    return ax


def busy_fractions(bars: Bars, row_count: int, edges: Floats) -> Floats:
    """Return the fraction of each time slice between ``edges`` that the bars of each row cover: shape (rows, slices).

    Overlapping bars of one row add up, possibly to more than 1.
    """
    fractions = np.zeros((row_count, len(edges) - 1))
    origin = edges[0]
    for row in np.unique(bars.rows).tolist():
        selected = bars.rows == row
        covered = _elapsed_since(bars.started[selected] - origin, edges - origin)
        covered -= _elapsed_since(bars.finished[selected] - origin, edges - origin)
        fractions[row] = np.diff(covered) / np.diff(edges)
    return np.clip(fractions, 0, None)


def _elapsed_since(times: Floats, edges: Floats) -> Floats:
    """Return for each edge the summed time since those of ``times`` that lie before it."""
    ordered = np.sort(times)
    sums = np.r_[0.0, np.cumsum(ordered)]
    before = np.searchsorted(ordered, edges)
    return np.asarray(before * edges - sums[before], dtype="float64")


def _draw_boxes(ax: Axes, name: str, sides: tuple[NDArray[Any], ...], *, hatched: bool = True) -> None:
    """Draw the boxes of an outcome: ``sides`` are their left, right, lower and upper sides."""
    from matplotlib.collections import PolyCollection

    left, right, low, high = sides
    corners = [np.stack(pair, axis=1) for pair in ((left, low), (right, low), (right, high), (left, high))]
    shapes: Any = np.stack(corners, axis=1)  # an array works and is much faster than a list
    boxes = PolyCollection(shapes, **axes.OUTCOME_STYLES[name].box_options(ax, hatched=hatched))
    ax.add_collection(boxes, autolim=False)


def _draw_fractions(ax: Axes, by_outcome: Mapping[str, Bars], row_count: int, edges: Floats) -> None:
    """Draw the fraction of each time slice that each outcome took, stacked; idle time stays empty."""
    dates = axes.to_dates(edges)
    fractions = {name: busy_fractions(bars, row_count, edges) for name, bars in by_outcome.items()}
    total = np.maximum(1.0, sum(fractions.values()))  # workers on two hosts may have the same name
    below = np.zeros((row_count, len(edges) - 1))
    for name, fraction in fractions.items():
        above = below + fraction / total
        row, column = np.nonzero(fraction > 0)
        low, high = (row + _HALF_BAR - 2 * _HALF_BAR * each[row, column] for each in (below, above))
        _draw_boxes(ax, name, (dates[column], dates[column + 1], low, high), hatched=False)
        below = above
