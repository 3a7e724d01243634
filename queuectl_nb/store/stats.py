"""Metrics over the history of attempts, computed by SQLite as far as it can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.state import State
from queuectl_nb.model.words import choice

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
"""What ``--by`` takes: the SQL of the group, and the table it needs."""

_RAN = "max(0, attempts.finished_at - attempts.started_at)"
_RAN_OUTCOMES = "('succeeded', 'failed', 'timed_out', 'cancelled')"
_WAITED = "max(0, attempts.started_at - due_at)"


@dataclass(frozen=True, slots=True)
class Stats:
    """Metrics of a set of attempts; durations in seconds, memory in bytes, None where there is no data.

    ``run_s`` and ``wait_s`` hold ``p50`` and ``p95``: of the attempts that ran to an end of their own (given back
    and lost ones aside), and of the time from when an attempt was due to its start. ``per_minute`` counts completed
    attempts over the span from the first start to the last end.
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
    """Return the value below which ``share`` of the sorted values lie (nearest rank); None for none.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    if not ordered:
        return None
    rank = max(1, -(-len(ordered) * round(share * 100) // 100))
    return ordered[rank - 1]


def stats(db: Database, *, by: str | None = None, since: float | None = None) -> dict[str, Stats]:
    """Return the metrics of each group, by its name; the only group is ``""`` without ``by`` (a key of GROUPS).

    ``since`` (epoch seconds) leaves out what ended earlier; counts by state are of jobs that changed since then.
    """
    key, extra = GROUPS[choice("group", by, GROUPS)] if by else ("''", "")
    with db.read() as connection:
        counts = _counts(connection, key, extra, since)
        facts = _facts(connection, key, extra, since)
        ran = _durations(connection, (key, extra), since, _RAN, f"outcome IN {_RAN_OUTCOMES}")
        waited = _durations(connection, (key, extra), since, _WAITED, "pid IS NOT NULL")
    if not by:
        counts.setdefault("", {})
    none = (0, 0, 0, None, None, None, None, None)
    groups = {}
    for group in sorted(counts.keys() | facts.keys()):
        attempts, jobs, succeeded, average, cpu, memory, first, last = facts.get(group, none)
        minutes = (last - first) / 60 if attempts and last else 0
        groups[group] = Stats(
            counts={state: counts.get(group, {}).get(state, 0) for state in State},
            attempts=attempts,
            avg_duration_s=average,
            run_s=_percentiles(ran.get(group, [])),
            wait_s=_percentiles(waited.get(group, [])),
            attempts_per_job=attempts / jobs if jobs else None,
            per_minute=succeeded / minutes if minutes > 0 else None,  # below 0 when the clock was set back
            cpu_s=cpu,
            max_rss_bytes=memory,
        )
    return groups


def _percentiles(ordered: Sequence[float]) -> dict[str, float | None]:
    return {"p50": percentile(ordered, 0.5), "p95": percentile(ordered, 0.95)}


def _counts(connection: sqlite3.Connection, key: str, extra: str, since: float | None) -> dict[str, dict[State, int]]:
    if key == "''" and since is None:
        found = connection.execute("SELECT '', state, sum(n) FROM tally GROUP BY state")
    else:
        sql = f"SELECT {key}, state, count(*) FROM jobs{extra} WHERE updated_at >= ? GROUP BY 1, 2"  # noqa: S608
        found = connection.execute(sql, (since or 0,))
    counts: dict[str, dict[State, int]] = {}
    for group, state, n in found:
        counts.setdefault(group, {})[State(state)] = n
    return counts


def _facts(connection: sqlite3.Connection, key: str, extra: str, since: float | None) -> dict[str, tuple[Any, ...]]:
    sql = f"""
        SELECT {key}, count(*), count(DISTINCT job), sum(outcome = 'succeeded'),
            avg(CASE WHEN outcome = 'succeeded' THEN {_RAN} END),
            sum(user_cpu_s + system_cpu_s), max(max_rss_bytes), min(attempts.started_at), max(attempts.finished_at)
        FROM attempts JOIN jobs ON jobs.seq = attempts.job{extra}
        WHERE attempts.finished_at IS NULL OR attempts.finished_at >= ? GROUP BY 1
    """  # noqa: S608 - all parts are this module's own
    return {row[0]: row[1:] for row in connection.execute(sql, (since or 0,))}


def _durations(
    connection: sqlite3.Connection, group: tuple[str, str], since: float | None, what: str, which: str
) -> dict[str, list[float]]:
    key, extra = group
    sql = f"""
        SELECT {key}, {what} FROM attempts JOIN jobs ON jobs.seq = attempts.job{extra}
        WHERE attempts.finished_at >= ? AND {which} ORDER BY 2
    """  # noqa: S608 - all parts are this module's own
    found: dict[str, list[float]] = {}
    for name, value in connection.execute(sql, (since or 0,)):
        found.setdefault(name, []).append(value)
    return found
