"""A metric of jobs over steps or time, a line for each attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from queuectl_nb.render.plots import axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from queuectl_nb.store.metrics import AttemptMetrics

__all__ = ["metric_lines"]

HEIGHT_IN = 2.8
MAX_LABELS = 10
"""A plot with more lines has no legend."""


def metric_lines(name: str, attempts: Sequence[AttemptMetrics], ax: Axes | None) -> Axes:
    """Draw the series ``name`` of each attempt that has it; return the axes.

    The x axis are the steps if all points have one, otherwise the time.
    """
    ax = axes.make_axes(ax, HEIGHT_IN)
    found = [each for each in attempts if name in each.series]
    if not found:
        return axes.draw_empty(ax, name)
    by_step = not any(np.isnan(each.series[name][1]).any() for each in found)
    latest = {each.job_id: each.number for each in found}
    for attempt in found:
        times, steps, values = attempt.series[name]
        label = attempt.job_id + (f", attempt {attempt.number}" if latest[attempt.job_id] > 1 else "")
        x = np.array(steps) if by_step else axes.to_dates(times)
        ax.plot(x, values, label=axes.shorten_label(label), linewidth=1.5, marker="." if len(values) == 1 else "")
    if not by_step:
        first = min(min(each.series[name][0]) for each in found)
        last = max(max(each.series[name][0]) for each in found)
        axes.set_time_axis(ax, first, max(last, first + 1.0))
    axes.decorate(ax, name, "by step" if by_step else "", grid="y")
    if 1 < len(found) <= MAX_LABELS:
        ax.legend(frameon=False, fontsize="small")
    return ax
