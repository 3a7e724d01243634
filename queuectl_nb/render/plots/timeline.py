"""Attempts over time, one row per worker."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from queuectl_nb.render.plots import axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from queuectl_nb.store.attempt_history import Spans

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int64]

__all__ = ["Bars", "busy_fractions", "merge_bars", "timeline"]

TITLE = "Attempts by worker"
RESOLUTION = 1600
"""Cells of the time axis that can be told apart; bars closer than one cell are merged."""
MIN_BAR_CELLS = 5
"""Bars of at least this width are never merged with each other, and get an edge."""
MIN_BAR_FRACTION = 1 / 900
"""Smallest width of a bar, as a fraction of the axis: the shortest attempt stays visible."""
DENSE_ATTEMPTS = 500
"""Attempts per row from which on fractions of time replace bars."""
TIME_SLICES = 200
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
    names = sorted(spans.workers, key=_natural_key)
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
    dense = int(np.bincount(rows).max()) >= DENSE_ATTEMPTS
    if dense:
        _draw_fractions(ax, by_outcome, len(names), np.linspace(first, last, TIME_SLICES + 1))
    else:
        for layer, (name, bars) in enumerate(by_outcome.items()):
            _draw_bars(ax, name, layer, merge_bars(bars, max((last - first) / RESOLUTION, 1e-6)), last - first)
    ax.set_ylim(len(names) - 0.5, -0.5)
    every = -(-len(names) // MAX_LABELS)
    ax.set_yticks(range(0, len(names), every), [axes.shorten_label(name) for name in names[::every]], fontsize="small")
    axes.set_time_axis(ax, first, last)
    note = f"{len(started):,} attempts" if len(started) > 1 else ""
    axes.decorate(ax, TITLE, f"{note}, fractions of time" if dense else note)
    axes.add_legend(ax, by_outcome, hatched=not dense)
    return ax


def merge_bars(bars: Bars, gap: float) -> Bars:
    """Merge bars of a row that are less than ``gap`` seconds apart, unless both are several times as wide.

    The number of bars in a row is then bounded by the resolution, however many attempts there are.
    """
    order = np.lexsort((bars.started, bars.rows))
    rows, started, finished = bars.rows[order], bars.started[order], bars.finished[order]
    merged: list[tuple[Rows, Floats, Floats]] = []
    for low, high in _row_ranges(rows):
        start, end = started[low:high], np.maximum.accumulate(finished[low:high])
        wide = finished[low:high] - start >= MIN_BAR_CELLS * gap
        first = np.flatnonzero(np.r_[True, (start[1:] - end[:-1] >= gap) | (wide[1:] & wide[:-1])])
        merged.append((rows[low : low + len(first)], start[first], end[np.r_[first[1:] - 1, len(end) - 1]]))
    if not merged:
        return bars
    return Bars(*(np.concatenate(column) for column in zip(*merged, strict=True)))


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


def _row_ranges(rows: Rows) -> list[tuple[int, int]]:
    """Return where the bars of each row begin and end; ``rows`` is sorted."""
    return list(pairwise([0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), len(rows)])) if len(rows) else []


def _elapsed_since(times: Floats, edges: Floats) -> Floats:
    """Return for each edge the summed time since those of ``times`` that lie before it."""
    ordered = np.sort(times)
    sums = np.r_[0.0, np.cumsum(ordered)]
    before = np.searchsorted(ordered, edges)
    return np.asarray(before * edges - sums[before], dtype="float64")


def _draw_bars(ax: Axes, name: str, layer: int, bars: Bars, duration: float) -> None:
    """Draw the bars of one outcome; failures cover successes."""
    start, end = bars.started, bars.finished
    left, right = axes.to_dates(start), axes.to_dates(np.maximum(end, start + duration * MIN_BAR_FRACTION))
    edges = np.where(end - start >= duration * MIN_BAR_CELLS / RESOLUTION, 0.7, 0.0).tolist()
    axes.draw_boxes(ax, name, (left, right, bars.rows + _HALF_BAR, bars.rows - _HALF_BAR), layer, edges)


def _draw_fractions(ax: Axes, by_outcome: Mapping[str, Bars], row_count: int, edges: Floats) -> None:
    """Draw the fraction of each time slice that each outcome took, stacked; idle time stays empty."""
    dates = axes.to_dates(edges)
    fractions = {name: busy_fractions(bars, row_count, edges) for name, bars in by_outcome.items()}
    total = np.maximum(1.0, sum(fractions.values()))  # workers on two hosts may have the same name
    below = np.zeros((row_count, len(edges) - 1))
    for layer, (name, fraction) in enumerate(fractions.items()):
        above = below + fraction / total
        row, column = np.nonzero(fraction > 0)
        low, high = (row + _HALF_BAR - 2 * _HALF_BAR * each[row, column] for each in (below, above))
        axes.draw_boxes(ax, name, (dates[column], dates[column + 1], low, high), layer, 0.0, hatched=False)
        below = above


def _natural_key(name: str) -> list[tuple[int, str]]:
    """Sort ``worker-2`` before ``worker-10``."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d{1,12})", name)]
