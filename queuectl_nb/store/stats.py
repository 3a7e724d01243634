"""Statistics of attempts."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from heapq import nlargest
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.state import State
from queuectl_nb.model.validation import parse_choice

if TYPE_CHECKING:
    from queuectl_nb.store.connection import Database

__all__ = ["EMPTY_STATS", "GROUPS", "Stats", "largest_groups", "percentile", "stats", "total_stats"]

FETCH_ROWS = 1_000
PARTS = 64
"""Parts in which groups are summed up: the dictionary of one is small."""

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
    attempts.rowid IN (
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


def total_stats(db: Database, *, since: float | None = None) -> Stats:
    """Return the statistics of the whole queue.

    ``since`` (epoch seconds) excludes attempts that ended earlier, and jobs that have not changed since then.
    """
    return _read_groups(db, "''", "", since)[""].stats()


def stats(db: Database, *, by: str, since: float | None = None) -> Iterator[tuple[str, Stats]]:
    """Yield name and statistics of each group, by name; ``by`` is a key of GROUPS, ``since`` as above."""
    groups = _read_groups(db, *GROUPS[parse_choice("group", by, GROUPS)], since)
    return ((name, groups[name].stats()) for name in sorted(groups))


def largest_groups(
    db: Database, by: str, limit: int, *, since: float | None = None
) -> tuple[list[tuple[str, Stats]], int]:
    """Return the ``limit`` groups with the longest total run time, as :func:`stats`, and the number of all groups."""
    key, extra = GROUPS[parse_choice("group", by, GROUPS)]
    names, number = _largest_names(db, key, extra, limit, since)
    groups = _read_groups(db, key, extra, since, names)
    names.sort(key=lambda name: -sum(groups[name].ran))  # of the same time: the order of the enqueues
    return [(name, groups[name].stats()) for name in names], number


def _largest_names(db: Database, key: str, extra: str, limit: int, since: float | None) -> tuple[list[str], int]:
    """Return the names of those groups, and the number of all.

    Groups are identified by the hash of their name and summed up in parts: a dictionary of a million names takes
    hundreds of megabytes. Among a million names, two have the same hash with a probability of 1 to 30 million.
    """
    values = {"since": since or 0, "most": limit + 1}
    where = "WHERE updated_at >= :since OR state = 'processing'"
    parts = [(array("q"), array("q"), array("d")) for _ in range(PARTS)]
    seqs = array("q")
    with db.read() as connection:
        sql = f"SELECT DISTINCT {key} FROM jobs{extra} {where} LIMIT :most"
        names = [name for (name,) in connection.execute(sql, values)]
        if len(names) <= limit:
            return names, len(names)
        sql = f"""
            SELECT jobs.seq, {key}, CASE WHEN {_OWN_END} AND attempts.finished_at >= :since THEN {_RAN} ELSE 0 END
            FROM jobs{extra} LEFT JOIN attempts ON attempts.job = jobs.seq {where}
        """
        adders = [(codes.append, rows.append, times.append) for codes, rows, times in parts]
        for row, (seq, name, ran) in enumerate(connection.execute(sql, values)):
            code = hash(name)
            add_code, add_row, add_time = adders[code % PARTS]
            add_code(code)
            add_row(row)
            add_time(ran)
            seqs.append(seq)
        largest: list[tuple[float, int, int]] = []
        number = 0
        for codes, rows, times in parts:
            totals: dict[int, float] = {}
            first = dict(zip(reversed(codes), reversed(rows), strict=True))
            for code, ran in zip(codes, times, strict=True):
                totals[code] = totals.get(code, 0) + ran
            number += len(totals)
            found = ((total, -first[code], code) for code, total in totals.items())
            largest = nlargest(limit, chain(largest, found))
        sql = f"SELECT {key} FROM jobs{extra} WHERE jobs.seq = ?"
        found_names = [
            next(name for (name,) in connection.execute(sql, (seqs[-row],)) if hash(name) == code)
            for _, row, code in largest
        ]
    return found_names, number


def _read_groups(
    db: Database, key: str, extra: str, since: float | None, names: Sequence[str] | None = None
) -> defaultdict[str, _Group]:
    """Read the groups of these names (None: all)."""
    source = "attempts" if key == "''" else f"attempts JOIN jobs ON jobs.seq = attempts.job{extra}"
    terms = [] if names is None else [f"{key} IN (SELECT value FROM json_each(:names))"]
    recent = terms if since is None else [*terms, _RECENT]
    values = {"since": since, "names": json.dumps(names)}
    groups: defaultdict[str, _Group] = defaultdict(_Group)
    with db.read() as connection:
        for name, state, count in connection.execute(_count_jobs(key, extra, since, terms), values):
            groups[name].counts[state] = count
        # every job that was started has an attempt 1: counting those is faster than counting distinct jobs
        sql = f"""
            SELECT {key}, {"number = 1" if since is None else "NULL"},
                CASE WHEN {_OWN_END} THEN {_RAN} END, CASE WHEN outcome = 'succeeded' THEN {_RAN} END,
                CASE WHEN pid IS NOT NULL AND attempts.finished_at IS NOT NULL THEN {_WAITED} END,
                user_cpu_s + system_cpu_s, max_rss_bytes, attempts.started_at, attempts.finished_at
            FROM {source} {_where(recent)}
        """
        with closing(connection.execute(sql, values)) as cursor:  # the traceback of an interrupt would keep it open
            while rows := cursor.fetchmany(FETCH_ROWS):
                rows.sort(key=_name)
                for name, part in groupby(rows, _name):
                    groups[name].add(list(part))
        if since is not None:
            sql = f"SELECT {key}, count(DISTINCT job) FROM {source} {_where(recent)} GROUP BY 1"
            for name, jobs in connection.execute(sql, values):
                groups[name].jobs = jobs
    return groups


_name = itemgetter(0)


def _where(terms: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(terms)}" if terms else ""


def _count_jobs(key: str, extra: str, since: float | None, terms: Sequence[str]) -> str:
    if since is None and key in ("''", "jobs.queue"):
        return f"SELECT {key}, state, sum(n) FROM tally AS jobs {_where(terms)} GROUP BY 1, 2 HAVING sum(n)"
    changed = [] if since is None else ["updated_at >= :since"]
    return f"SELECT {key}, state, count(*) FROM jobs{extra} {_where([*terms, *changed])} GROUP BY 1, 2"


class _Group:
    """Collects the jobs and attempts of a group."""

    __slots__ = (
        *("attempts", "counts", "cpu", "finished", "jobs", "memory", "ran", "run_s", "started", "succeeded", "waited"),
    )

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.attempts = self.jobs = self.succeeded = 0
        self.run_s = 0.0
        """Total run time of the attempts that succeeded."""
        self.ran, self.waited = array("d"), array("d")
        self.cpu: float | None = None
        self.memory: int | None = None
        self.started: float | None = None
        self.finished: float | None = None

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add attempts."""
        _, first, ran, succeeded, waited, cpu, memory, started, finished = map(_known, zip(*rows, strict=True))
        self.attempts += len(rows)
        self.jobs += sum(first)
        self.ran.extend(ran)
        self.waited.extend(waited)
        self.succeeded += len(succeeded)
        self.run_s += sum(succeeded)
        if cpu:
            self.cpu = sum(cpu, self.cpu or 0)
        self.memory = max(memory + _known([self.memory]), default=None)
        self.started = min(started + _known([self.started]), default=None)
        self.finished = max(finished + _known([self.finished]), default=None)

    def stats(self) -> Stats:
        """Return the statistics."""
        minutes = None
        if self.started is not None and self.finished is not None:
            minutes = max(1.0, (self.finished - self.started) / 60)  # less than 0 if the clock was set back
        return Stats(
            counts={state: self.counts.get(state, 0) for state in State},
            attempts=self.attempts,
            avg_duration_s=self.run_s / self.succeeded if self.succeeded else None,
            run_s=_percentiles(self.ran),
            wait_s=_percentiles(self.waited),
            attempts_per_job=self.attempts / self.jobs if self.jobs else None,
            per_minute=self.succeeded / minutes if minutes else None,
            cpu_s=None if self.cpu is None else round(self.cpu, 6),
            max_rss_bytes=self.memory,
        )


def _known(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _percentiles(values: array[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    return {"p50": percentile(ordered, 0.5), "p95": percentile(ordered, 0.95)}


EMPTY_STATS = _Group().stats()
"""The statistics of no jobs."""
