"""Attempts as bars on a row: joined where none could tell them apart, or as shares of time where there are too many."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int64]

__all__ = ["POINTS", "WIDE", "Bars", "busy", "merged"]

POINTS = 1600
"""Places on the time axis that a picture can tell apart; what is closer together becomes one bar."""
WIDE = 5
"""Such places that a bar takes at least to be one of its own, with an edge."""


class Bars(NamedTuple):
    """Bars of one outcome: the row of each, when it begins and ends (epoch seconds)."""

    rows: Rows
    started: Floats
    finished: Floats


def merged(bars: Bars, gap: float) -> Bars:
    """Join bars of a row between which there is less than ``gap``, unless both are several times as wide.

    However many attempts there are, a row is left with no more bars than places that can be told apart.
    """
    order = np.lexsort((bars.started, bars.rows))
    rows, started, finished = bars.rows[order], bars.started[order], bars.finished[order]
    kept: list[tuple[Rows, Floats, Floats]] = []
    for low, high in _runs(rows):
        start, end = started[low:high], np.maximum.accumulate(finished[low:high])
        wide = finished[low:high] - start >= WIDE * gap
        fresh = np.flatnonzero(np.r_[True, (start[1:] - end[:-1] >= gap) | (wide[1:] & wide[:-1])])
        kept.append((rows[low : low + len(fresh)], start[fresh], end[np.r_[fresh[1:] - 1, len(end) - 1]]))
    if not kept:
        return bars
    places, starts, ends = zip(*kept, strict=True)
    return Bars(np.concatenate(places), np.concatenate(starts), np.concatenate(ends))


def _runs(rows: Rows) -> list[tuple[int, int]]:
    """Return where each row's bars begin and end, the rows being sorted."""
    return list(pairwise([0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), len(rows)])) if len(rows) else []


def busy(bars: Bars, count: int, edges: Floats) -> Floats:
    """Return the share of each slice of time between ``edges`` that the bars of each of ``count`` rows take.

    Shape (rows, slices). Bars of one row that overlap count together, so that more than 1 may come out.
    """
    found = np.zeros((count, len(edges) - 1))
    origin = edges[0]
    for row in np.unique(bars.rows).tolist():
        chosen = bars.rows == row
        taken = _sum_before(bars.started[chosen] - origin, edges - origin)
        taken -= _sum_before(bars.finished[chosen] - origin, edges - origin)
        found[row] = np.diff(taken) / np.diff(edges)
    return np.clip(found, 0, None)


def _sum_before(moments: Floats, edges: Floats) -> Floats:
    """Return for each edge the sum of the times that have gone by since the moments before it."""
    ordered = np.sort(moments)
    sums = np.r_[0.0, np.cumsum(ordered)]
    number = np.searchsorted(ordered, edges)
    return np.asarray(number * edges - sums[number], dtype="float64")
