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

__all__ = ["stream"]

PIECE = 1000


def stream(db: Database, reading: Reader, wanted: Filter) -> Iterator[JobRecord]:
    """Yield the jobs of a filter in its order.

    A few come from one moment. Of many the order is that of the beginning, and each is given as it is when its turn
    comes; what was removed meanwhile, or does not fit the filter any more, is left out.
    """
    if wanted.limit is not None and wanted.limit <= PIECE:
        yield from reading.jobs(wanted)
        return
    places = [seq for (seq,) in reading.job_rows(wanted, "seq")]
    terms, values = wanted.where()
    terms += ["seq IN (SELECT value FROM json_each(:places))", "state = coalesce(:state, state)"]
    values["state"] = wanted.state
    sql = f"SELECT {rows.JOB_COLUMNS} FROM jobs WHERE {' AND '.join(terms)}"  # noqa: S608 - our own terms
    for start in range(0, len(places), PIECE):
        piece = places[start : start + PIECE]
        values["places"] = json.dumps(piece)
        with db.read() as connection:
            found = {row[0]: row for row in connection.execute(sql, values)}
        for seq in piece:
            if seq in found:
                yield rows.job(found[seq])
