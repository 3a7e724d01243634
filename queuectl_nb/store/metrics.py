"""Metrics of attempts: read from the file ``TOKEN.metrics`` in the spool, and kept in the database.

A job may write anything there, and any amount: of a large file, blocks that are spread evenly over it are read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.store.queries import Q
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from queuectl_nb.model.metrics import MetricsParser, ReportedMetrics
    from queuectl_nb.store.settle import EndedAttempt

__all__ = ["Sampled", "read_metrics", "record_metrics", "sample_file"]

MAX_READ_BYTES = 32 * 1024 * 1024
"""Read of a file after the attempt; takes about a second."""
BLOCK_BYTES = 64 * 1024


def read_metrics(path: str, started_at: float | None) -> ReportedMetrics | None:
    """Return what an attempt has reported; None if it has reported nothing."""
    try:
        if not os.access(path, os.F_OK, follow_symlinks=False):  # most jobs report nothing
            return None
        sampled = sample_file(path, started_at, MAX_READ_BYTES)
    except OSError:  # the job has replaced the file
        return None
    sampled.parser.finish(sampled.modified_at)
    return sampled.parser.result(complete=sampled.complete)


class Sampled(NamedTuple):
    """What was read of a file: all of it if ``complete``, up to ``offset``."""

    parser: MetricsParser
    complete: bool
    offset: int
    modified_at: float


def sample_file(path: str, started_at: float | None, max_bytes: int, max_points: int | None = None) -> Sampled:
    """Read and parse up to ``max_bytes`` of a file.

    Lines without a time are dated as if the file had grown evenly since ``started_at``. Raises OSError.
    """
    from queuectl_nb.model.metrics import MAX_POINTS, MetricsParser

    parser = MetricsParser(max_points or MAX_POINTS)
    handle = open_regular(path, os.O_RDONLY)
    try:
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
        return Sampled(parser, found.st_size <= max_bytes, end, ended)
    finally:
        os.close(handle)


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
