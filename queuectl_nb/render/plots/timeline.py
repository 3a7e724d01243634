"""Attempts on the clock, a row for each worker: who ran when, and how it ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from queuectl_nb.render.plots import axes
from queuectl_nb.render.plots.bars import POINTS, WIDE, Bars, busy, merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from queuectl_nb.store.attempt_history import Spans

    Floats = NDArray[np.float64]

__all__ = ["timeline"]

TITLE = "Attempts by worker"
THIN = 1 / 900
"""Least share of the axis that a bar takes: the shortest attempt is still seen."""
DENSE = 500
"""Attempts of a row from which on it shows shares of time instead of bars."""
SLICES = 200
ROW = 0.3
"""Inches of a row."""
TALLEST = 12.0
"""Inches of all rows."""
MOST_LABELS = 48
_HIGH = 0.38
"""Half of a bar's height in rows."""


def timeline(spans: Spans, ax: Axes | None) -> Axes:
    """Draw the attempts of ``spans`` and return the axes."""
    names = sorted(spans.workers, key=_natural)
    ax = axes.axes(ax, min(TALLEST, 1.0 + ROW * max(2, len(names))))
    if not spans.worker:
        return axes.nothing(ax, TITLE)
    rows = np.array([names.index(name) for name in spans.workers])[np.asarray(spans.worker)]
    started = np.asarray(spans.started_at)
    finished = np.maximum(started, np.asarray(spans.finished_at))  # a clock may have been set back
    outcome = np.asarray(spans.outcome)
    found = {}
    for name in axes.outcome_looks(spans.outcomes):
        chosen = outcome == spans.outcomes.index(name)
        found[name] = Bars(rows[chosen], started[chosen], finished[chosen])
    first, last = float(started.min()), float(finished.max())
    dense = int(np.bincount(rows).max()) >= DENSE
    if dense:
        _shares(ax, found, len(names), np.linspace(first, last, SLICES + 1))
    else:
        for place, (name, bars) in enumerate(found.items()):
            _bars(ax, name, place, merged(bars, max((last - first) / POINTS, 1e-6)), last - first)
    ax.set_ylim(len(names) - 0.5, -0.5)
    every = -(-len(names) // MOST_LABELS)
    ax.set_yticks(range(0, len(names), every), [axes.shorten(name) for name in names[::every]], fontsize="small")
    axes.clock_axis(ax, first, last)
    note = f"{len(started):,} attempts" if len(started) > 1 else ""
    axes.tidy(ax, TITLE, f"{note}, shares of time" if dense else note)
    axes.legend(ax, found, hatched=not dense)
    return ax


def _bars(ax: Axes, name: str, place: int, bars: Bars, wide: float) -> None:
    """Draw bars of one outcome; bad ones over good ones."""
    start, end = bars.started, bars.finished
    left, right = axes.days(start), axes.days(np.maximum(end, start + wide * THIN))
    edges = np.where(end - start >= wide * WIDE / POINTS, 0.7, 0.0).tolist()
    axes.boxes(ax, name, (left, right, bars.rows + _HIGH, bars.rows - _HIGH), place, edges)


def _shares(ax: Axes, found: Mapping[str, Bars], count: int, edges: Floats) -> None:
    """Draw for each row and slice of time how much of it went into each outcome, from below; idle time stays empty."""
    marks = axes.days(edges)
    taken = {name: busy(bars, count, edges) for name, bars in found.items()}
    whole = np.maximum(1.0, sum(taken.values()))  # two hosts may have had a worker of the same name
    below = np.zeros((count, len(edges) - 1))
    for place, (name, share) in enumerate(taken.items()):
        above = below + share / whole
        row, slot = np.nonzero(share > 0)
        low, high = (row + _HIGH - 2 * _HIGH * each[row, slot] for each in (below, above))
        axes.boxes(ax, name, (marks[slot], marks[slot + 1], low, high), place, 0.0, hatched=False)
        below = above


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort ``worker-2`` before ``worker-10``."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d{1,12})", name)]
