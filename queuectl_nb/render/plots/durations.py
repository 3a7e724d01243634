"""Durations of attempts, one row per command, queue or tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from queuectl_nb.model.displayed_command import displayed_command
from queuectl_nb.render.plots import axes, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from queuectl_nb.store.attempt_history import Durations

__all__ = ["durations"]

MAX_DOTS = 60
"""A row with more attempts has a box only."""
MIN_BOX_ATTEMPTS = 5
LOG_SCALE_RATIO = 30.0
"""Ratio of longest to shortest duration above which the axis is logarithmic."""
MIN_DURATION_S = 0.001
"""Start of a logarithmic axis."""
ROW_HEIGHT_IN = 0.36
MAX_ROWS = 60
"""Upper bound for ``limit``."""
_BOX_COLOUR = "#2b7bba"


def durations(lasting: Durations, by: str, limit: int, ax: Axes | None) -> Axes:
    """Draw the ``limit`` groups with the largest total time, and all others as one row; return the axes."""
    title = f"Run time by {by}"
    rows = _group_rows(lasting, min(limit, MAX_ROWS))
    ax = axes.make_axes(ax, 1.0 + ROW_HEIGHT_IN * max(2, len(rows)))
    if not rows:
        return axes.draw_empty(ax, title)
    seconds, outcome = np.asarray(lasting.seconds), np.asarray(lasting.outcome)
    floor = MIN_DURATION_S if _set_duration_axis(ax, seconds) else 0
    for position, (_, members) in enumerate(rows):
        _draw_row(ax, position, np.maximum(seconds[members], floor), outcome[members], lasting.outcomes)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    labels = [axes.shorten_label(displayed_command(name)) for name, _ in rows]
    ax.set_yticks(range(len(rows)), labels, fontsize="small", family="monospace")
    largest = max(len(members) for _, members in rows)
    note = "box: quartiles, whiskers: 5th to 95th percentile" if largest >= MIN_BOX_ATTEMPTS else ""
    axes.decorate(ax, title, note)
    axes.add_legend(ax, lasting.outcomes, offset_in=0.16 + 0.07 * len(f"{largest:,}"))
    for position, (_, members) in enumerate(rows):
        count = f" {len(members):,}"
        ax.annotate(count, (1, position), xycoords=("axes fraction", "data"), va="center", fontsize="small", alpha=0.8)
    return ax


def _group_rows(lasting: Durations, limit: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Return name and attempt indices of each row, largest total time first."""
    group = np.asarray(lasting.group)
    totals = np.bincount(group, weights=np.asarray(lasting.seconds), minlength=len(lasting.groups))
    ranking = np.argsort(-totals, kind="stable")
    rows = [(lasting.groups[each], np.flatnonzero(group == each)) for each in ranking[:limit].tolist()]
    others = ranking[limit:]
    if len(others):
        rows.append((f"({len(others):,} others)", np.flatnonzero(np.isin(group, others))))
    return rows


def _set_duration_axis(ax: Axes, seconds: NDArray[np.float64]) -> bool:
    """Set scale, limits and ticks; return whether the axis is logarithmic."""
    low, high = max(float(seconds.min()), MIN_DURATION_S), max(float(seconds.max()), MIN_DURATION_S)
    logarithmic = high / low > LOG_SCALE_RATIO
    if logarithmic:
        ax.set_xscale("log")
        ax.set_xlim(low / 1.3, high * 1.3)
        positions = ticks.log_ticks(low / 1.3, high * 1.3)
    else:
        ax.set_xlim(0, high * 1.05)
        positions = ticks.linear_ticks(high * 1.05)
    ax.set_xticks(positions, [ticks.tick_label(each) for each in positions])
    ax.minorticks_off()
    return logarithmic


def _draw_row(
    ax: Axes, row: int, seconds: NDArray[np.float64], outcome: NDArray[np.int64], outcomes: Sequence[str]
) -> None:
    """Draw a box if there are enough attempts, and dots if there are few."""
    if len(seconds) >= MIN_BOX_ATTEMPTS:
        low, left, middle, right, high = np.quantile(seconds, [0.05, 0.25, 0.5, 0.75, 0.95])
        ax.plot([low, high], [row, row], color=_BOX_COLOUR, linewidth=1.2, zorder=2)
        ax.barh(row, right - left, left=left, height=0.56, color=_BOX_COLOUR, alpha=0.35, zorder=2)
        ax.plot([middle, middle], [row - 0.28, row + 0.28], color=_BOX_COLOUR, linewidth=2.4, zorder=4)
    if len(seconds) <= MAX_DOTS:
        # evenly scattered from -0.2 to 0.2, the same each time
        offsets = 0.2 * (np.arange(len(seconds)) * 0.618034 % 1 * 2 - 1) if len(seconds) > 1 else np.zeros(1)
        for number, name in enumerate(outcomes):
            chosen = outcome == number
            if chosen.any():
                marker, c = "o" if name == "succeeded" else "X", axes.OUTCOME_STYLES[name].colour
                ax.scatter(seconds[chosen], row + offsets[chosen], s=20, c=c, marker=marker, linewidths=0, zorder=3)
