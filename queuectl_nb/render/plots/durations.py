"""How long attempts run, a row for each command (or queue, or tag): where the middle is, and how far they scatter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from queuectl_nb.render.plots import axes, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from queuectl_nb.store.attempt_history import Durations

__all__ = ["durations"]

DOTS = 60
"""Attempts of a row up to which each is a dot."""
BOX = 5
"""Attempts of a row from which on it has a box."""
WIDE = 30.0
"""From this many times the shortest on, the axis is one of multiples."""
SHORTEST = 0.001
"""Seconds at which such an axis begins."""
ROW = 0.36
"""Inches of a row."""
MOST_ROWS = 60
"""Rows that a picture can hold, whatever was asked for."""
_BOX = "#2b7bba"


def durations(lasting: Durations, by: str, limit: int, ax: Axes | None) -> Axes:
    """Draw the ``limit`` groups that took most time, and the others as one row; return the axes."""
    title = f"Running time by {by}"
    rows = _rows(lasting, min(limit, MOST_ROWS))
    ax = axes.axes(ax, 1.0 + ROW * max(2, len(rows)))
    if not rows:
        return axes.nothing(ax, title)
    seconds, outcome = np.asarray(lasting.seconds), np.asarray(lasting.outcome)
    wide = _axis(ax, seconds)
    for place, (_, chosen) in enumerate(rows):
        _row(ax, place, np.maximum(seconds[chosen], SHORTEST if wide else 0), outcome[chosen], lasting.outcomes)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), [axes.shorten(name) for name, _ in rows], fontsize="small", family="monospace")
    axes.tidy(ax, title, "box: middle half, whiskers: 5 to 95 %" if any(len(each) >= BOX for _, each in rows) else "")
    axes.legend(ax, lasting.outcomes, aside=0.16 + 0.07 * len(f"{max(len(each) for _, each in rows):,}"))
    for place, (_, chosen) in enumerate(rows):
        ax.annotate(
            f" {len(chosen):,}",
            (1, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="small",
            alpha=0.8,
        )
    return ax


def _rows(lasting: Durations, limit: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Return the rows' names and the places of their attempts: those that took most time first."""
    group, seconds = np.asarray(lasting.group), np.asarray(lasting.seconds)
    if not len(group):
        return []
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(lasting.groups) + 1))
    ranking = np.argsort(-np.bincount(group, weights=seconds, minlength=len(lasting.groups)), kind="stable")
    rows = [(lasting.groups[each], order[starts[each] : starts[each + 1]]) for each in ranking[:limit].tolist()]
    others = ranking[limit:]
    if len(others):
        rows.append((f"({len(others):,} others)", np.flatnonzero(np.isin(group, others))))
    return rows


def _axis(ax: Axes, seconds: NDArray[np.float64]) -> bool:
    """Choose the axis of durations; tell whether it is one of multiples."""
    low, high = max(float(seconds.min()), SHORTEST), max(float(seconds.max()), SHORTEST)
    wide = high / low > WIDE
    if wide:
        ax.set_xscale("log")
        ax.set_xlim(low / 1.3, high * 1.3)
        marks = ticks.logarithmic(low / 1.3, high * 1.3)
    else:
        ax.set_xlim(0, high * 1.05)
        marks = ticks.linear(high * 1.05)
    ax.set_xticks(marks, [ticks.label(each) for each in marks])
    ax.minorticks_off()
    return wide


def _row(ax: Axes, place: int, seconds: NDArray[np.float64], outcome: NDArray[np.int64], names: Sequence[str]) -> None:
    """Draw one row: a box where there are enough attempts, dots where there are few."""
    if len(seconds) >= BOX:
        low, left, middle, right, high = np.quantile(seconds, [0.05, 0.25, 0.5, 0.75, 0.95])
        ax.plot([low, high], [place, place], color=_BOX, linewidth=1.2, zorder=2)
        ax.barh(place, right - left, left=left, height=0.56, color=_BOX, alpha=0.35, zorder=2)
        ax.plot([middle, middle], [place - 0.28, place + 0.28], color=_BOX, linewidth=2.4, zorder=4)
    if len(seconds) <= DOTS:
        aside = 0.2 * _scattered(len(seconds)) if len(seconds) > 1 else np.zeros(1)
        for number, name in enumerate(names):
            chosen = outcome == number
            if chosen.any():
                mark = "o" if name == "succeeded" else "X"
                colour = axes.LOOKS[name].colour
                ax.scatter(
                    seconds[chosen], place + aside[chosen], s=20, marker=mark, color=colour, linewidths=0, zorder=3
                )


def _scattered(count: int) -> NDArray[np.float64]:
    """Return numbers from -1 to 1 that lie apart from their neighbours, always the same."""
    return np.asarray(np.arange(count) * 0.618034 % 1 * 2 - 1, dtype="float64")
