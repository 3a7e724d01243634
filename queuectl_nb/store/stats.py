"""Statistics of attempts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.state import State
from queuectl_nb.model.validation import parse_choice

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from queuectl_nb.store.connection import Database

__all__ = ["GROUPS", "Stats", "percentile", "stats"]

GROUPS: Mapping[str, tuple[str, str]] = {
    "command": ("jobs.command", ""),
    "queue": ("jobs.queue", ""),
    "tag": ("tag.value", ", json_each(jobs.tags) AS tag"),
}
"""Values of ``--by``: the SQL expression of the group, and the table it needs."""

_RAN = "max(0, attempts.finished_at - attempts.started_at)"
_WAITED = "max(0, attempts.started_at - due_at)"
_OWN_END = "outcome IN ('succeeded', 'failed', 'timed_out', 'cancelled')"
_RECENT = """
    WHERE attempts.rowid IN (
        SELECT rowid FROM attempts WHERE finished_at >= :since
        UNION ALL
        SELECT attempts.rowid FROM jobs JOIN attempts ON attempts.job = jobs.seq AND attempts.number = jobs.starts
        WHERE jobs.state = 'processing'
    )
"""
"""Attempts that ended since a time, and running ones; both are found through an index."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of a set of attempts; durations in seconds, memory in bytes, None without data.

    ``run_s`` and ``wait_s`` hold ``p50`` and ``p95`` of the run time of attempts (except returned and lost ones) and
    of the time from when an attempt was due until it started. ``per_minute`` is the number of successful attempts per
    minute from the first start to the last end; a shorter time counts as one minute.
    """

    counts: Mapping[State, int]
    attempts: int
    avg_duration_s: float | None
    run_s: Mapping[str, float | None]
    wait_s: Mapping[str, float | None]
    attempts_per_job: float | None
    per_minute: float | None
    cpu_s: float | None
    max_rss_bytes: int | None


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the percentile ``share`` (0 to 1) of sorted values by nearest rank; None without values.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    if not ordered:
        return None
    rank = max(1, -(-len(ordered) * round(share * 100) // 100))
    return ordered[rank - 1]


def stats(db: Database, *, by: str | None = None, since: float | None = None) -> dict[str, Stats]:
    """Return the statistics of each group by name; without ``by`` (a key of GROUPS) the only group is ``""``.

    ``since`` (epoch seconds) excludes attempts that ended earlier, and jobs that have not changed since then.
    """
    key, extra = GROUPS[parse_choice("group", by, GROUPS)] if by is not None else ("''", "")
    source = f"attempts JOIN jobs ON jobs.seq = attempts.job{extra}" if by is not None else "attempts"
    source += "" if since is None else _RECENT
    with db.read() as connection:
        counts = _counts(connection, key, extra, since)
        facts = _facts(connection, key, source, since)
        ran, waited = _durations(connection, key, source, since)
    if by is None:
        counts.setdefault("", {})
    none = (0, 0, 0, None, None, None, None, None)
    groups = {}
    for group in sorted(counts.keys() | facts.keys()):
        attempts, jobs, succeeded, average, cpu, memory, first, last = facts.get(group, none)
        minutes = max(1, (last - first) / 60) if last else None  # less than 0 if the clock was set back
        groups[group] = Stats(
            counts={state: counts.get(group, {}).get(state, 0) for state in State},
            attempts=attempts,
            avg_duration_s=average,
            run_s=_percentiles(ran[group]),
            wait_s=_percentiles(waited[group]),
            attempts_per_job=attempts / jobs if jobs else None,
            per_minute=succeeded / minutes if minutes else None,
            cpu_s=cpu,
            max_rss_bytes=memory,
        )
    return groups


def _percentiles(values: list[float]) -> dict[str, float | None]:
    values.sort()
    return {"p50": percentile(values, 0.5), "p95": percentile(values, 0.95)}


def _counts(connection: sqlite3.Connection, key: str, extra: str, since: float | None) -> dict[str, dict[State, int]]:
    if since is None and key in ("''", "jobs.queue"):
        sql = f"SELECT {key}, state, sum(n) FROM tally AS jobs GROUP BY 1, 2 HAVING sum(n)"  # noqa: S608
    else:
        sql = f"SELECT {key}, state, count(*) FROM jobs{extra} WHERE updated_at >= :since GROUP BY 1, 2"  # noqa: S608
    counts: dict[str, dict[State, int]] = {}
    for group, state, n in connection.execute(sql, {"since": since or 0}):
        counts.setdefault(group, {})[State(state)] = n
    return counts


def _facts(connection: sqlite3.Connection, key: str, source: str, since: float | None) -> dict[str, tuple[Any, ...]]:
    # every started job has an attempt 1: counting those is faster than counting distinct jobs
    jobs = "sum(number = 1)" if since is None else "count(DISTINCT job)"
    sql = f"""
        SELECT {key}, count(*), {jobs}, sum(outcome = 'succeeded'),
            avg(CASE WHEN outcome = 'succeeded' THEN {_RAN} END),
            round(sum(user_cpu_s + system_cpu_s), 6), max(max_rss_bytes),
            min(attempts.started_at), max(attempts.finished_at)
        FROM {source} GROUP BY 1
    """  # noqa: S608 - all parts are this module's own
    return {row[0]: row[1:] for row in connection.execute(sql, {"since": since})}


def _durations(
    connection: sqlite3.Connection, key: str, source: str, since: float | None
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the run times and wait times of attempts, by group."""
    sql = f"""
        SELECT {key}, CASE WHEN {_OWN_END} THEN {_RAN} END,
            CASE WHEN pid IS NOT NULL AND attempts.finished_at IS NOT NULL THEN {_WAITED} END
        FROM {source}
    """  # noqa: S608 - all parts are this module's own
    ran: dict[str, list[float]] = defaultdict(list)
    waited: dict[str, list[float]] = defaultdict(list)
    for group, run, wait in connection.execute(sql, {"since": since}):
        if run is not None:
            ran[group].append(run)
        if wait is not None:
            waited[group].append(wait)
    return ran, waited
