"""All jobs of a filter, however many: a piece at a time, so that neither memory nor a moment is held for long.

A million jobs at once are a gigabyte; and a look that a slow reader keeps open keeps the WAL from being written back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from queuectl_nb.store import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.reader import Filter, Reader

__all__ = ["iter_jobs"]

CHUNK_ROWS = 1000


def iter_jobs(db: Database, reader: Reader, job_filter: Filter) -> Iterator[JobRecord]:
    """Yield the jobs of a filter in its order.

    A few come from one moment. Of many the order is that of the beginning, and each is given as it is when its turn
    comes; what was removed meanwhile, or does not fit the filter any more, is left out.
    """
    if job_filter.limit is not None and job_filter.limit <= CHUNK_ROWS:
        yield from reader.jobs(job_filter)
        return
    places = [seq for (seq,) in reader.job_rows(job_filter, "seq")]
    terms, values = job_filter.where()
    terms += ["seq IN (SELECT value FROM json_each(:places))", "state = coalesce(:state, state)"]
    values["state"] = job_filter.state
    sql = f"SELECT {rows.JOB_COLUMNS} FROM jobs WHERE {' AND '.join(terms)}"  # noqa: S608 - our own terms
    for start in range(0, len(places), CHUNK_ROWS):
        piece = places[start : start + CHUNK_ROWS]
        values["places"] = json.dumps(piece)
        with db.read() as connection:
            found = {row[0]: row for row in connection.execute(sql, values)}
        for seq in piece:
            if seq in found:
                yield rows.job_from_row(found[seq])
