"""What the latest attempt of a job has reported, for views: a selection of each series."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.call import Kind
from queuectl_nb.model.state import State
from queuectl_nb.render.sparkline import SVG_WIDTH, points_of
from queuectl_nb.store.metrics import LiveMetrics, latest_points, running_attempts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.store import Store

__all__ = ["JobMetrics", "ReportedValues", "ShownSeries", "finished_values", "latest_metrics", "running_metrics"]

MAX_SHOWN = 12
"""Maximum number of series of a job in a view."""
CELL_POINTS = 32
"""Maximum number of values in the line of a table cell."""
MAX_CACHED = 512
"""Maximum number of running attempts of which only new lines are read; also that of finished jobs in memory."""


class ShownSeries(NamedTuple):
    """One metric: its last value (None: not finite), and values that are spread evenly over the run."""

    name: str
    last: float | int | None
    values: Sequence[float]


class JobMetrics(NamedTuple):
    """Progress and metrics of an attempt."""

    progress: float | None
    series: Sequence[ShownSeries]


class ReportedValues(NamedTuple):
    """What a running job has reported: progress, last values, and the values of its first metric over time."""

    progress: float | None
    metrics: Mapping[str, float | int | None]
    values: Sequence[float]


_finished: OrderedDict[tuple[Path, int, int], Sequence[float]] = OrderedDict()
"""Values of the first metric of finished jobs, by path of the queue, seq and rev."""
_cache: OrderedDict[tuple[Path, str], LiveMetrics] = OrderedDict()
_lock = Lock()


def running_metrics(store: Store) -> dict[str, ReportedValues]:
    """Return what running jobs have reported, by id; jobs that have reported nothing are left out."""
    found = {}
    for job_id, token, started_at in running_attempts(store.db)[:MAX_CACHED]:
        with _lock:
            parser = _live(store, token, started_at).read()
            if parser.series or parser.progress is not None:
                first = next(iter(parser.series.values()), None)
                values = [] if first is None else points_of(first.columns()[2], CELL_POINTS)
                found[job_id] = ReportedValues(parser.progress, parser.last_values, values)
    return found


def finished_values(store: Store, jobs: Iterable[JobRecord]) -> dict[int, Sequence[float]]:
    """Return values of the first metric of those jobs that have reported any and do not run, by ``seq``.

    That of a notebook is the number of its cell, which says nothing.
    """
    found = {}
    for job in jobs:
        if job.metrics and job.kind != Kind.NOTEBOOK and job.state is not State.PROCESSING:
            key = (store.path, job.seq, job.rev)
            with _lock:
                values = _finished.get(key)
            if values is None:
                points = latest_points(store.db, job.id)
                first = next(iter(points.stored.values()), None) if points is not None and points.stored else None
                values = [] if first is None else points_of(first[2], CELL_POINTS)
                with _lock:
                    _finished[key] = values
                    while len(_finished) > MAX_CACHED:
                        _finished.popitem(last=False)
            found[job.seq] = values
    return found


def _live(store: Store, token: str, started_at: float) -> LiveMetrics:
    """Return the reader of a running attempt; the caller holds the lock."""
    live = _cache.pop((store.path, token), None) or LiveMetrics(store.db.output_dir, token, started_at)
    _cache[store.path, token] = live
    while len(_cache) > MAX_CACHED:
        _cache.popitem(last=False)
    return live


def latest_metrics(store: Store, job_id: str) -> JobMetrics:
    """Return progress and metrics of the latest attempt; raise ``NotFound`` for an unknown job."""
    job = store.jobs.get(job_id)
    found = latest_points(store.db, job_id)
    if found is None:
        return JobMetrics(job.progress, ())
    if found.stored is None:
        with _lock:
            parser = _live(store, found.token, found.started_at).read()
            shown = _shown((name, each.columns()[2]) for name, each in parser.series.items())
            return JobMetrics(parser.progress, [each._replace(last=parser.last_values[each.name]) for each in shown])
    shown = _shown((name, columns[2]) for name, columns in found.stored.items())
    last = job.metrics or {}
    return JobMetrics(job.progress, [each._replace(last=last.get(each.name)) for each in shown])


def _shown(series: Iterable[tuple[str, Sequence[float]]]) -> list[ShownSeries]:
    return [ShownSeries(name, None, points_of(values, SVG_WIDTH)) for name, values in list(series)[:MAX_SHOWN]]
