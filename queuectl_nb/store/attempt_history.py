"""The history of attempts as columns, for plots."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.validation import parse_choice
from queuectl_nb.store.queries import Q
from queuectl_nb.store.stats import GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from queuectl_nb.store.connection import Database

__all__ = [
    "RUNNING",
    "Codes",
    "Durations",
    "Spans",
    "attempt_durations",
    "attempt_spans",
    "count_outcomes",
    "finish_time_range",
]

RUNNING = "running"
"""The outcome of attempts that have not ended."""
FETCH_ROWS = 10_000


class Spans(NamedTuple):
    """Start and end of attempts in epoch seconds; ``worker`` and ``outcome`` are indexes of the lists."""

    workers: list[str]
    outcomes: list[str]
    worker: array[int]
    outcome: array[int]
    started_at: array[float]
    finished_at: array[float]
    """The time of the query for running attempts."""


class Durations(NamedTuple):
    """Run times in seconds of attempts that ran to an end; ``group`` and ``outcome`` are indexes of the lists."""

    groups: list[str]
    outcomes: list[str]
    group: array[int]
    outcome: array[int]
    seconds: array[float]


class Codes(dict[str, int]):
    """Numbers strings in the order of their first lookup."""

    def __missing__(self, text: str) -> int:
        self[text] = code = len(self)
        return code


def _read_columns(rows: Any, numbers: int) -> tuple[list[list[str]], list[array[int]], list[array[float]]]:
    """Read rows of two strings and ``numbers`` numbers; strings as indexes of lists of the distinct ones."""
    known = Codes(), Codes()
    codes: list[array[int]] = [array("q"), array("q")]
    values: list[array[float]] = [array("d") for _ in range(numbers)]
    while some := rows.fetchmany(FETCH_ROWS):
        columns: list[Iterable[Any]] = list(zip(*some, strict=True))
        for at, column in enumerate(columns[:2]):
            codes[at].extend(map(known[at].__getitem__, column))
        for at, column in enumerate(columns[2:]):
            values[at].extend(column)
    return [list(each) for each in known], codes, values


def attempt_spans(db: Database, *, since: float | None, now: float, limit: int | None = None) -> Spans:
    """Return the newest ``limit`` attempts that ended since a time (None: ever), and the running ones."""
    values = {"since": since, "now": now, "limit": -1 if limit is None else limit, "running": RUNNING}
    with db.read() as connection:
        rows = connection.execute(Q.spans_of_attempts, values)
        texts, (worker, outcome), (started, finished) = _read_columns(rows, 2)
    return Spans(texts[0], texts[1], worker, outcome, started, finished)


def attempt_durations(db: Database, *, by: str, since: float | None) -> Durations:
    """Return the run times of attempts that ended since a time (None: ever), grouped by a key of ``GROUPS``."""
    key, extra = GROUPS[parse_choice("group", by, GROUPS)]
    sql = f"""
        SELECT {key}, outcome, max(0, attempts.finished_at - attempts.started_at)
        FROM attempts JOIN jobs ON jobs.seq = attempts.job{extra}
        WHERE outcome IN ('succeeded', 'failed', 'timed_out') AND (:since IS NULL OR attempts.finished_at >= :since)
    """
    with db.read() as connection:
        texts, (group, outcome), (seconds,) = _read_columns(connection.execute(sql, {"since": since}), 1)
    return Durations(texts[0], texts[1], group, outcome, seconds)


def finish_time_range(db: Database, *, since: float | None) -> tuple[float, float] | None:
    """Return when the first and the last attempt ended, since a time or ever; None without attempts."""
    ((first, last),) = db.query(Q.first_and_last_end, {"since": since or 0})
    return None if first is None else (first, last)


def count_outcomes(db: Database, *, start: float, end: float, slice_s: float) -> list[tuple[int, str, int]]:
    """Return (slice, outcome, count) of the attempts that ended from ``start`` to ``end`` inclusive."""
    return db.query(Q.ends_by_outcome, {"start": start, "end": end, "slice": slice_s})
