"""Long job lists: the order of all matching jobs as an array for paging, and jobs and their output in chunks."""

from __future__ import annotations

import json
from array import array
from contextlib import closing
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.store import rows
from queuectl_nb.store.metrics import add_live
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.reader import Reader

__all__ = [
    "JobOrder",
    "QueryStopped",
    "StoredOutput",
    "iter_jobs",
    "iter_outputs",
    "iter_row_chunks",
    "read_rows",
]

CHUNK_ROWS = 1_000
"""Rows fetched at once; other threads run in between."""
OUTPUT_CHUNK_JOBS = 200
"""Jobs whose output is read in one transaction."""
_AT = "seq IN (SELECT value FROM json_each(:seqs))"
PROGRESS_INSTRUCTIONS = 20_000
"""SQLite instructions between two calls of ``should_stop``: about a millisecond."""


class QueryStopped(Exception):
    """The query was interrupted by ``should_stop``."""


class JobOrder:
    """Reads the order of jobs, and the jobs at given positions."""

    def __init__(self, db: Database) -> None:
        """Read from ``db``."""
        self._db = db

    def read_order(self, job_filter: Filter, should_stop: Callable[[], bool] = lambda: False) -> array[int]:
        """Return the ``seq`` of all jobs of a filter in order, ignoring its limit and cursor: 8 bytes a job.

        Takes a second or more for a million jobs. ``should_stop()`` is called meanwhile; True raises
        :class:`QueryStopped`.
        """
        condition, values = job_filter.condition()
        sql = f"SELECT seq FROM jobs {condition} {job_filter.order_by()}"
        seqs: array[int] = array("q")
        with self._db.read() as connection:
            connection.set_progress_handler(lambda: int(should_stop()), PROGRESS_INSTRUCTIONS)
            try:
                with closing(connection.execute(sql, values)) as cursor:
                    while found := cursor.fetchmany(CHUNK_ROWS):
                        seqs.extend(map(itemgetter(0), found))
            except Exception:
                if should_stop():
                    raise QueryStopped from None
                raise
            finally:
                connection.set_progress_handler(None, 0)
        return seqs

    def jobs_at(self, seqs: Sequence[int]) -> list[JobRecord]:
        """Return the jobs with these ``seq``, in that order, without ``after`` and ``result``.

        Deleted ones are left out.
        """
        found = read_rows(self._db, rows.SHORT_JOB_COLUMNS, seqs)
        return add_live(self._db, map(rows.job_from_row, found))


def iter_jobs(db: Database, reader: Reader, job_filter: Filter) -> Iterator[JobRecord]:
    """Yield the jobs of a filter in order."""
    for chunk in iter_row_chunks(db, reader, job_filter, rows.JOB_COLUMNS):
        yield from add_live(db, map(rows.job_from_row, chunk))


def iter_row_chunks(
    db: Database, reader: Reader, job_filter: Filter, columns: str
) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Yield columns of a filter's jobs as raw rows in order, in chunks: a million at once would take a gigabyte.

    The first column must be ``seq``. A short list is one snapshot. For a long one the order is that of the start; each
    job is yielded as it is when its chunk is read, and jobs that were deleted or no longer match are left out. No read
    transaction stays open between chunks, because it would keep the WAL from being checkpointed.
    """
    if job_filter.limit is not None and job_filter.limit <= CHUNK_ROWS:
        yield from filter(None, [reader.job_rows(job_filter, columns)])
        return
    if job_filter.limit is None:
        seqs = JobOrder(db).read_order(job_filter)
    else:
        seqs = array("q", [seq for (seq,) in reader.job_rows(job_filter, "seq")])
    condition, values = job_filter.condition(_AT, state_column="+state")
    for start in range(0, len(seqs), CHUNK_ROWS):
        yield from filter(None, [read_rows(db, columns, seqs[start : start + CHUNK_ROWS], condition, values)])


def read_rows(
    db: Database,
    columns: str,
    seqs: Sequence[int],
    condition: str = f"WHERE {_AT}",
    values: Mapping[str, object] = MappingProxyType({}),
) -> list[tuple[Any, ...]]:
    """Return columns of the jobs with these ``seq`` that fulfil the condition, in that order."""
    sql = f"SELECT {columns} FROM jobs {condition}"
    found = {row[0]: row for row in db.query(sql, {**values, "seqs": json.dumps(list(seqs))})}
    return [*filter(None, map(found.get, seqs))]


class StoredOutput(NamedTuple):
    """The output of an attempt; a stream is None if it is not, or not completely, in the database."""

    job_id: str
    number: int
    streams: Mapping[str, str | bytes | None]


def iter_outputs(db: Database, job_filter: Filter, *, all_attempts: bool) -> Iterator[StoredOutput]:
    """Yield the output of the latest attempt, or of all attempts, of each job of a filter, in enqueue order."""
    seqs = sorted(JobOrder(db).read_order(job_filter))
    for start in range(0, len(seqs), OUTPUT_CHUNK_JOBS):
        values = {"seqs": json.dumps(seqs[start : start + OUTPUT_CHUNK_JOBS]), "all": all_attempts}
        for job_id, number, stdout, stderr in db.query(Q.outputs_of_jobs, values):
            yield StoredOutput(job_id, number, {"stdout": stdout, "stderr": stderr})
