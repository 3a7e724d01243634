"""Plots of the history of a queue: ``q.plot.timeline()``, ``durations()``, ``throughput()``, ``overview()``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Unpack

from queuectl_nb.client import arguments
from queuectl_nb.client.selection import known_ids
from queuectl_nb.model.validation import parse_int

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from queuectl_nb.client.arguments import Jobs
    from queuectl_nb.client.selection import Selection
    from queuectl_nb.store.store import Store

__all__ = ["Plot"]

MAX_GROUPS = 12
"""Default number of groups in ``durations``."""


class Plot:
    """Draws a queue's history with matplotlib (``pip install 'queuectl-nb[plot]'``).

    Each method draws on ``ax`` (default: a new figure) and returns the axes. ``since`` omits attempts that ended
    earlier: epoch seconds, a datetime, ISO text, a timedelta, or an age such as ``"12h"``. The plot of an empty queue
    says so; large histories are aggregated.

    Raises
    ------
    BadEnvironment
        matplotlib is not installed.
    BadInput
        ``since``, ``by`` or ``limit`` is invalid; the message names the valid values.
    """

    def __init__(self, store: Store) -> None:
        """Plot the history in ``store``."""
        self._store = store

    def __repr__(self) -> str:
        return "<plots: timeline(), durations(), throughput(), overview(), metrics(name)>"

    def timeline(self, *, since: object = None, limit: int | None = None, ax: Axes | None = None) -> Axes:
        """Draw attempts as bars, one row per worker, coloured by outcome; running attempts have an open end.

        ``limit`` selects the latest attempts. The x axis is local time.
        """
        from queuectl_nb.render.plots.timeline import timeline
        from queuectl_nb.store.attempt_history import attempt_spans

        most = None if limit is None else parse_int("limit", limit, 1)
        return timeline(attempt_spans(self._store.db, since=_since(since), now=time.time(), limit=most), ax)

    def durations(
        self, *, by: str = "command", since: object = None, limit: int = MAX_GROUPS, ax: Axes | None = None
    ) -> Axes:
        """Draw the run times of attempts, one row per command, queue or tag.

        Cancelled, returned and lost attempts are omitted. The ``limit`` groups with the longest total run time get a
        row each, with the number of attempts at the right; the others share one row. Fewer than five attempts are
        drawn as dots, more as a box from the 25th to the 75th percentile.
        """
        from queuectl_nb.render.plots.durations import durations
        from queuectl_nb.store.attempt_history import attempt_durations

        most = parse_int("limit", limit, 1)
        return durations(attempt_durations(self._store.db, by=by, since=_since(since)), by, most, ax)

    def throughput(self, *, since: object = None, ax: Axes | None = None) -> Axes:
        """Draw finished attempts per minute by outcome, over local time."""
        from queuectl_nb.render.plots.series import choose_slices, throughput
        from queuectl_nb.store.attempt_history import count_outcomes, finish_time_range

        found = finish_time_range(self._store.db, since=_since(since))
        if found is None:
            return throughput(None, 0, [], ax)
        start, slice_s = cut = choose_slices(*found)
        rows = count_outcomes(self._store.db, start=max(start, found[0]), end=found[1], slice_s=slice_s)
        return throughput(cut, found[1], rows, ax)

    def metrics(self, name: str, *jobs: Jobs, ax: Axes | None = None, **selection: Unpack[Selection]) -> Axes:
        """Draw the metric ``name`` that given or selected jobs, or all, have reported, a line for each attempt.

        The x axis are the steps, or the time where a point has no step. Raises ``NotFound`` for an unknown job.
        """
        from queuectl_nb.render.plots.series import metric_lines
        from queuectl_nb.store.metrics import attempt_metrics

        ids = known_ids(self._store, jobs, selection)
        return metric_lines(name, list(attempt_metrics(self._store.db, ids)), ax)

    def overview(self, *, by: str = "command", since: object = None) -> Figure:
        """Draw all three plots into one figure and return it; it is not shown."""
        from queuectl_nb.render.plots.overview import overview

        start = _since(since)
        return overview(
            [
                lambda ax: self.throughput(since=start, ax=ax),
                lambda ax: self.timeline(since=start, ax=ax),
                lambda ax: self.durations(by=by, since=start, ax=ax),
            ]
        )


def _since(value: object) -> float | None:
    """Return epoch seconds, or None."""
    return None if value is None else arguments.parse_since("since", value)
