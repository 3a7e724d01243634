"""The order of all jobs of a filter as an array of their places: what lets a view page through a million of them."""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING

from queuectl_nb.store import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.reader import Filter

__all__ = ["JobOrder", "QueryStopped"]

FETCH_ROWS = 1_000
"""Rows fetched at once: between them other threads get their turn."""
PROGRESS_INSTRUCTIONS = 20_000
"""Steps of SQLite's machine between two questions whether the order is still wanted: about a millisecond."""


class QueryStopped(Exception):
    """The order is not wanted any more."""


class JobOrder:
    """Orders jobs, and reads those of some places."""

    def __init__(self, db: Database) -> None:
        """Ask ``db``."""
        self._db = db

    def read_order(self, job_filter: Filter, should_stop: Callable[[], bool]) -> array[int]:
        """Return the places (``seq``) of a filter's jobs in their order, its limit and cursor aside: 8 bytes a job.

        Takes a second or more for a million; ``stop()`` is asked meanwhile, and ends it with :class:`Stopped`.
        """
        terms, values = job_filter.where()
        if job_filter.state is not None:
            terms.append("state = :state")
            values["state"] = job_filter.state
        down = job_filter.reverse if job_filter.sort else not job_filter.reverse
        order = " DESC" if down else ""
        condition = f"WHERE {' AND '.join(terms)}" if terms else ""
        sql = f"SELECT seq FROM jobs {condition} ORDER BY {job_filter.sort or 'rev'}{order}, seq{order}"  # noqa: S608 - checked names
        places: array[int] = array("q")
        with self._db.read() as connection:
            connection.set_progress_handler(lambda: int(should_stop()), PROGRESS_INSTRUCTIONS)
            try:
                cursor = connection.execute(sql, values)
                while found := cursor.fetchmany(FETCH_ROWS):
                    places.extend(seq for (seq,) in found)
            except Exception:
                if should_stop():
                    raise QueryStopped from None
                raise
            finally:
                connection.set_progress_handler(None, 0)
        return places

    def jobs_at(self, seqs: Sequence[int]) -> list[JobRecord]:
        """Return the jobs of these places, in their order; those that were removed are left out."""
        sql = f"SELECT {rows.JOB_COLUMNS} FROM jobs WHERE seq IN (SELECT value FROM json_each(?))"  # noqa: S608
        with self._db.read() as connection:
            found = {row[0]: row for row in connection.execute(sql, (json.dumps(list(seqs)),))}
        return [rows.job_from_row(found[place]) for place in seqs if place in found]
