"""Pictures of a queue's history: ``q.plot.timeline()``, ``durations()``, ``throughput()``, all of them in one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queuectl_nb.client import arguments
from queuectl_nb.model.validation import parse_int

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from queuectl_nb.store.store import Store

__all__ = ["Plot"]

MAX_GROUPS = 12
"""Rows of durations, when no limit is given."""


class Plot:
    """Draws a queue's history with matplotlib (``pip install 'queuectl-nb[plot]'``).

    Every picture takes ``ax``, the axes to draw on, makes a figure of its own without, and returns the axes. ``since``
    leaves out what ended earlier: epoch seconds, a datetime, an ISO text, a timedelta, or an age such as ``"12h"``.
    A queue with nothing in it gives a picture that says so; a million attempts are summed up.

    Raises
    ------
    BadEnvironment
        matplotlib is not installed; the message says how to.
    BadInput
        ``since``, ``by`` or ``limit`` cannot be taken; the message names the valid ones.
    """

    def __init__(self, store: Store) -> None:
        """Draw what ``store`` holds."""
        self._store = store

    def __repr__(self) -> str:
        return "<pictures: timeline(), durations(), throughput(), overview()>"

    def timeline(self, *, since: object = None, limit: int | None = None, ax: Axes | None = None) -> Axes:
        """Draw attempts as bars, a row for each worker, coloured by how they ended; running ones are open.

        ``limit`` takes the newest attempts only. The x axis is local time.
        """
        from queuectl_nb.render.plots.timeline import timeline
        from queuectl_nb.store.attempt_history import attempt_spans

        most = None if limit is None else parse_int("limit", limit, 1)
        return timeline(attempt_spans(self._store.db, since=_since(since), now=time.time(), limit=most), ax)

    def durations(
        self, *, by: str = "command", since: object = None, limit: int = MAX_GROUPS, ax: Axes | None = None
    ) -> Axes:
        """Draw how long attempts ran (seconds to days), a row for each command, queue or tag.

        Attempts that were cancelled, given back or lost say nothing of it and stay out. The ``limit`` groups that took
        most time have a row each, with their number of attempts at the right; the others share one. Few attempts are
        dots, from five on a box tells where the middle half is.
        """
        from queuectl_nb.render.plots.durations import durations
        from queuectl_nb.store.attempt_history import attempt_durations

        most = parse_int("limit", limit, 1)
        return durations(attempt_durations(self._store.db, by=by, since=_since(since)), by, most, ax)

    def throughput(self, *, since: object = None, ax: Axes | None = None) -> Axes:
        """Draw how many attempts ended a minute, over local time, by how they ended."""
        from queuectl_nb.render.plots.throughput import choose_slices, throughput
        from queuectl_nb.store.attempt_history import count_outcomes, finish_time_range

        found = finish_time_range(self._store.db, since=_since(since))
        if found is None:
            return throughput(None, 0, [], ax)
        start, slice_s = cut = choose_slices(*found)
        rows = count_outcomes(self._store.db, start=max(start, found[0]), end=found[1], slice_s=slice_s)
        return throughput(cut, found[1], rows, ax)

    def overview(self, *, by: str = "command", since: object = None) -> Figure:
        """Draw all three below one another, and return the figure; it belongs to no window or cell."""
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
    """Return epoch seconds."""
    return None if value is None else arguments.parse_since("since", value)
