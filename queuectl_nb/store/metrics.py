"""Metrics of attempts: read from the file ``TOKEN.metrics`` in the spool, and kept in the database.

A job may write anything there, and any amount: of a large file, blocks that are spread evenly over it are read.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.state import State
from queuectl_nb.store.queries import Q
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    import sqlite3
    from array import array
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.model.metrics import MetricsParser, ReportedMetrics
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.settle import EndedAttempt

__all__ = [
    "AttemptMetrics",
    "LatestPoints",
    "LiveMetrics",
    "add_live",
    "attempt_metrics",
    "latest_points",
    "live_size",
    "live_values",
    "read_metrics",
    "record_metrics",
    "running_attempts",
]

LIVE_BYTES = 128 * 1024
"""Maximum size that is read at once from the file of a running attempt; of more, a sample is read."""
LIVE_POINTS = 500
MAX_READ_BYTES = 32 * 1024 * 1024
"""Maximum size that is read from a file after the attempt; takes about a second."""
BLOCK_BYTES = 64 * 1024


def read_metrics(path: str, started_at: float | None) -> ReportedMetrics | None:
    """Return what an attempt has reported; None if it has reported nothing."""
    try:
        if not os.access(path, os.F_OK, follow_symlinks=False):  # most jobs report nothing
            return None
        sampled = _sample_file(path, started_at, MAX_READ_BYTES)
    except OSError:  # the job has replaced the file
        return None
    sampled.parser.finish(sampled.modified_at)
    return sampled.parser.result(complete=sampled.complete)


class _Sampled(NamedTuple):
    """What was read of a file: all of it if ``complete``, up to ``offset``."""

    parser: MetricsParser
    complete: bool
    offset: int
    modified_at: float


def _sample_file(path: str, started_at: float | None, max_bytes: int, max_points: int | None = None) -> _Sampled:
    """Read and parse up to ``max_bytes`` of a file.

    Lines without a time are dated as if the file had grown evenly since ``started_at``. Raises OSError.
    """
    from queuectl_nb.model.metrics import MAX_POINTS, MetricsParser

    parser = MetricsParser(max_points or MAX_POINTS)
    with open_regular(path, os.O_RDONLY) as handle:
        found = os.fstat(handle)
        ended = found.st_mtime
        began = min(started_at or ended, ended)
        rate = (ended - began) / (found.st_size or 1)
        end = 0
        for start, size in _blocks(found.st_size, max_bytes):
            data = os.pread(handle, size, start)
            gap = start != end
            end = start + len(data)
            parser.feed(data, began + rate * start, began + rate * end, gap=gap)
        return _Sampled(parser, found.st_size <= max_bytes, end, ended)


def _blocks(size: int, max_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield start and size of the blocks to read: all of a file, or blocks that are spread evenly over it."""
    if size <= max_bytes:
        yield from ((start, min(BLOCK_BYTES, size - start)) for start in range(0, size, BLOCK_BYTES))
        return
    count = max(2, max_bytes // BLOCK_BYTES)
    for number in range(count):
        yield (size - BLOCK_BYTES) * number // (count - 1), BLOCK_BYTES


def record_metrics(connection: sqlite3.Connection, ended: Sequence[EndedAttempt]) -> None:
    """Store what attempts have reported, in the current transaction."""
    for each in ended:
        if (found := each.ending.metrics) is not None:
            lease = each.lease
            points = (lease.seq, lease.number, found.invalid, found.complete, found.points)
            connection.execute(Q.keep_metrics, points)
            connection.execute(Q.set_last_metrics, (found.progress, found.last, lease.seq))


# ---------------------------------------------------------------------- running attempts


def running_attempts(db: Database) -> list[tuple[str, str, float]]:
    """Return job id, token and start of the running attempts."""
    return db.query(Q.running_tokens)


def live_values(db: Database, ids: Collection[str] | None = None) -> dict[str, tuple[float | None, Mapping[str, Any]]]:
    """Return progress and last values of the running jobs that have reported any, by id."""
    found: dict[str, tuple[float | None, Mapping[str, Any]]] = {}
    for job_id, token, started_at in running_attempts(db):
        if ids is None or job_id in ids:
            parser = LiveMetrics(db.output_dir, token, started_at).read()
            if parser.series or parser.progress is not None:
                found[job_id] = parser.progress, parser.last_values
    return found


def live_size(db: Database) -> int:
    """Return a number that grows whenever a running job reports something."""
    size = 0
    for _, token, _ in running_attempts(db):
        with contextlib.suppress(OSError):
            size += os.lstat(f"{db.output_dir}/{token}.metrics").st_size
    return size


def add_live(db: Database, records: Iterable[JobRecord]) -> list[JobRecord]:
    """Return the records; running jobs with what they have reported so far."""
    found = list(records)
    running = {each.id for each in found if each.state is State.PROCESSING}
    values = live_values(db, running) if running else {}
    for number, record in enumerate(found):
        if record.id in values:
            progress, metrics = values[record.id]
            found[number] = record._replace(progress=progress, metrics=metrics or None)
    return found


class LiveMetrics:
    """What a running attempt reports; each :meth:`read` reads what was appended since the one before."""

    def __init__(self, folder: Path, token: str, started_at: float | None, max_points: int = LIVE_POINTS) -> None:
        from queuectl_nb.model.metrics import MetricsParser

        self.path = f"{folder}/{token}.metrics"
        self.parser = MetricsParser(max_points)
        self._max_points = max_points
        self._started_at = started_at
        self._offset = 0
        self._modified_at = 0.0

    def read(self) -> MetricsParser:
        """Return all points, of a long file a selection; at most ``LIVE_BYTES`` are read."""
        try:
            found = os.lstat(self.path)
            if found.st_size == self._offset:
                return self.parser
            if not self._offset or found.st_size < self._offset:
                self.parser, _, self._offset, self._modified_at = _sample_file(
                    self.path, self._started_at, LIVE_BYTES, self._max_points
                )
            else:
                self._read_new(found.st_size, found.st_mtime)
        except OSError:  # none, or the job has replaced it
            pass
        return self.parser

    def _read_new(self, size: int, modified_at: float) -> None:
        start = max(self._offset, size - LIVE_BYTES)
        with open_regular(self.path, os.O_RDONLY) as handle:
            data = os.pread(handle, size - start, start)
        self.parser.feed(data, self._modified_at, modified_at, gap=start > self._offset)
        self._offset, self._modified_at = start + len(data), modified_at


# ---------------------------------------------------------------------- all attempts


class AttemptMetrics(NamedTuple):
    """The points of an attempt: times, steps and values by name."""

    job_id: str
    number: int
    invalid: int
    complete: bool
    series: Mapping[str, tuple[array[float], array[float], array[float]]]


def attempt_metrics(db: Database, ids: Sequence[str] | None = None) -> Iterator[AttemptMetrics]:
    """Yield the metrics of attempts that have any, of these jobs or of all, in enqueue order."""
    from queuectl_nb.model.metrics import decode_series

    if ids is None:
        ids = [job_id for (job_id,) in db.query(Q.jobs_with_metrics)]
    for job_id, number, token, started_at, running, invalid, complete, points in db.query(
        Q.metrics_of_jobs, {"ids": json.dumps(list(ids))}
    ):
        if not running:
            yield AttemptMetrics(job_id, number, invalid, bool(complete), decode_series(points))
            continue
        try:
            sampled = _sample_file(f"{db.output_dir}/{token}.metrics", started_at, MAX_READ_BYTES)
        except OSError:
            continue
        series = {name: each.columns() for name, each in sampled.parser.series.items()}
        if series or sampled.parser.invalid:
            yield AttemptMetrics(job_id, number, sampled.parser.invalid, sampled.complete, series)


class LatestPoints(NamedTuple):
    """The latest attempt of a job, and what is stored of its metrics; ``stored`` None: it is running."""

    token: str
    started_at: float
    stored: Mapping[str, tuple[array[float], array[float], array[float]]] | None


def latest_points(db: Database, job_id: str) -> LatestPoints | None:
    """Return the latest attempt of a job; None if there is none, or it has ended without metrics."""
    from queuectl_nb.model.metrics import decode_series

    rows = db.query(Q.latest_points, {"id": job_id})
    if not rows:
        return None
    ((token, started_at, running, points),) = rows
    if points is None and not running:
        return None
    return LatestPoints(token, started_at, None if running else decode_series(points))
