"""How fast the queue grows: an estimate from a sample of the attempts of the last day."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.store.maintenance import free_disk_space, read_space
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.connection import Database

__all__ = ["DAY", "Growth", "read_growth"]

DAY = 86_400
WINDOW_S = DAY
"""The attempts that ended in this time are the sample."""
MIN_WINDOW_S = 3600.0
"""A new queue counts as this old, so that a burst of jobs is not taken for a trend."""
SAMPLES = 100
ROW_BYTES = 600
"""Space of a job and its attempt in tables and indexes, without output."""


class Growth(NamedTuple):
    """The growth of a queue in bytes per second, and when the disk is full at this rate (inf: never)."""

    bytes_per_s: float
    full_in_s: float


def read_growth(db: Database, settings: Settings, now: float) -> Growth:
    """Estimate the growth; takes a millisecond, however many jobs there are.

    With ``retention``, it ends when the oldest attempt is as old as that: from then on as much is deleted as is added.
    """
    since = now - WINDOW_S
    with db.read() as connection:
        found = connection.execute(Q.attempts_since, {"since": since}).fetchone()
        if found is None:
            return Growth(0.0, math.inf)
        first, began, last, oldest = found
        step = max(1, (last - first) // SAMPLES)
        values = {
            "since": since,
            "first": first,
            "last": last,
            "step": step,
            "row_bytes": ROW_BYTES,
            "output_limit": settings.output_limit,
            "spool_limit": settings.spool_limit,
        }
        (sampled,) = connection.execute(Q.sampled_output, values).fetchone()
    rate = sampled * step / max(now - began, MIN_WINDOW_S)
    full_in_s = (free_disk_space(db) + read_space(db).free) / rate
    grows_for_s = settings.retention * DAY - (now - oldest) if settings.retention else math.inf
    return Growth(rate, full_in_s if full_in_s < grows_for_s else math.inf)
