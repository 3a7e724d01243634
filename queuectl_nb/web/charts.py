"""The charts of the statistics view: throughput since the first attempt, and a histogram of run times."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.changes import Throughput, series_of
from queuectl_nb.render.plots.ticks import choose_step, linear_ticks, log_ticks, tick_label
from queuectl_nb.store.attempt_history import attempt_durations, count_outcomes, finish_time_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.store.connection import Database

__all__ = ["charts", "run_time"]

MIN_BARS = 24
MAX_BARS = 60
MIN_SLICE_S = 5.0
MIN_RUN_TIME_S = 0.001
"""Shorter run times are counted in the first bar."""
LOG_SCALE_RATIO = 30.0
"""Ratio of longest to shortest run time above which the bars are of equal width on a logarithmic axis."""


def charts(queue: Queue) -> dict[str, Any]:
    """Return ``throughput`` in the shape of an overview, and ``run_time``; null without finished attempts."""
    return {"throughput": _throughput(queue.store.db), "run_time": _run_time(queue.store.db)}


def _throughput(db: Database) -> dict[str, Any] | None:
    found = finish_time_range(db, since=None)
    if found is None:
        return None
    first, last = found
    slice_s = max(MIN_SLICE_S, choose_step(last - first, MAX_BARS))
    slices = max(MIN_BARS, int(last // slice_s - first // slice_s) + 1)
    return Throughput(partial(count_outcomes, db), slice_s, slices).read(last)


def _run_time(db: Database) -> dict[str, Any] | None:
    found = attempt_durations(db, by="queue", since=None)
    return run_time(found.seconds, (series_of(found.outcomes[each]) for each in found.outcome))


def run_time(seconds: Sequence[float], series: Iterable[str]) -> dict[str, Any] | None:
    """Return a histogram: ``edges`` of the bars in seconds, ``ticks`` of the axis, and a list of counts by series."""
    if not seconds:
        return None
    low, high = (max(extreme(seconds), MIN_RUN_TIME_S) for extreme in (min, max))
    if high / low > LOG_SCALE_RATIO:
        per_decade = 5 if high / low > 1e5 else 10
        start = math.floor(math.log10(low) * per_decade)

        def place(value: float) -> int:
            return math.floor(math.log10(max(value, MIN_RUN_TIME_S)) * per_decade) - start

        edges = [10 ** ((start + index) / per_decade) for index in range(place(high) + 2)]
        ticks = [(math.log10(each / edges[0]) * per_decade, each) for each in log_ticks(edges[0], edges[-1])]
    else:
        step = choose_step(high, MAX_BARS // 2)

        def place(value: float) -> int:
            return math.floor(max(value, MIN_RUN_TIME_S) / step)

        edges = [step * index for index in range(place(high) + 2)]
        ticks = [(each / step, each) for each in linear_ticks(edges[-1])]
    bars = len(edges) - 1
    counts = Counter(zip(series, map(place, seconds), strict=True))
    return {
        "edges": edges,
        "ticks": [{"position": position / bars, "label": tick_label(each)} for position, each in ticks],
        **{name: [counts[name, index] for index in range(bars)] for name in ("succeeded", "failed")},
    }
