"""Failed and dead jobs, grouped by what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuectl_nb.store.job_filter import WITH_ERROR
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.job_filter import Filter

__all__ = ["FailedJobs", "read_error_groups"]


@dataclass(frozen=True, slots=True)
class FailedJobs:
    """Jobs whose latest attempts failed in the same way; times are those of these attempts in epoch seconds."""

    key: str
    count: int
    reason: str
    message: str
    """The error of ``example``."""
    first_at: float
    last_at: float
    example: str
    """The id of the job that failed last, or was edited since."""


def read_error_groups(db: Database, job_filter: Filter, limit: int | None = None) -> list[FailedJobs]:
    """Return the groups of a filter's failed and dead jobs, the largest first, at most ``limit``."""
    # no index on the keys: it would cost a settled failure more than the keys do, 6 % of its time
    failed = job_filter.in_states(state for state in WITH_ERROR if not job_filter.state or state in job_filter.state)
    if not failed.state:
        return []
    condition, values = failed.condition("error_key IS NOT NULL")
    groups = (
        f"SELECT error_key, count(*), min(finished_at), max(finished_at), max(rev) FROM jobs {condition}"
        " GROUP BY error_key ORDER BY 2 DESC, 4 DESC"
    )
    condition, _ = failed.condition("error_key = :key", "rev = :newest")
    newest = f"SELECT seq FROM jobs {condition} ORDER BY finished_at DESC LIMIT 1"
    found = []
    with db.read() as connection:
        for key, count, first_at, last_at, rev in connection.execute(groups, values).fetchall()[:limit]:
            ((seq,),) = connection.execute(newest, {**values, "key": key, "newest": rev})
            ((example, error, reason),) = connection.execute(Q.example_of_error, {"seq": seq})
            found.append(FailedJobs(key, count, reason, error, first_at, last_at, example))
    return found
