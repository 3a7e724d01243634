"""Finished attempts per minute over time, by outcome; a metric of jobs over steps or time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from queuectl_nb.render.plots import axes, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from queuectl_nb.store.metrics import AttemptMetrics

__all__ = ["choose_slices", "metric_lines", "throughput"]

TITLE = "Finished attempts per minute"
MAX_BARS = 75
MIN_SLICE_S = 5.0
HEIGHT_IN = 2.8

Slices = tuple[float, float]
"""Start of the first time slice (epoch seconds), and seconds per slice."""
MAX_LABELS = 10
"""A plot with more lines has no legend."""


def choose_slices(first: float, last: float) -> Slices:
    """Return at most ``MAX_BARS`` slices of a round length that cover ``first`` to ``last``."""
    each = max(MIN_SLICE_S, ticks.choose_step(last - first, MAX_BARS))
    return math.floor(first / each) * each, each


def throughput(time_slices: Slices | None, last: float, ends: Sequence[tuple[int, str, int]], ax: Axes | None) -> Axes:
    """Draw the attempts that finished in each slice, until epoch second ``last``; return the axes.

    ``ends`` holds slice index, outcome and number of attempts.
    """
    ax = axes.make_axes(ax, HEIGHT_IN)
    if time_slices is None or not ends:
        return axes.draw_empty(ax, TITLE)
    start, slice_s = time_slices
    count = max(index for index, _, _ in ends) + 1
    heights: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for index, outcome, number in ends:
        heights.setdefault(outcome, np.zeros(count))[index] += number * 60 / slice_s
    left = axes.to_dates(start + slice_s * np.arange(count))
    below = np.zeros(count)
    for name in axes.sort_outcomes(heights):
        options = axes.OUTCOME_STYLES[name].box_options(ax)
        ax.bar(left, heights[name], slice_s / 86_400, bottom=below, align="edge", **options)
        below += heights[name]
    ax.set_ylim(0, float(below.max()) * 1.08)
    axes.set_time_axis(ax, start, max(last, start + slice_s * count))
    axes.decorate(ax, TITLE, f"bars of {ticks.tick_label(slice_s)}", grid="y")
    axes.add_legend(ax, heights)
    return ax


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
