"""Typed DataFrames, built by column. Only this package imports pandas.

For a million jobs this is faster than ``pandas.read_sql``, which does not even set types (``benchmarks/frames.py``).
"""

from __future__ import annotations

import itertools
import math
import time
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from queuectl_nb.model.attempt import ATTEMPT_FIELDS
from queuectl_nb.model.error_groups import REASONS
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.settings import SETTINGS
from queuectl_nb.model.state import State
from queuectl_nb.model.validation import quoted
from queuectl_nb.render.frames import arrays
from queuectl_nb.render.frames.display import mark
from queuectl_nb.render.frames.jobs import STATES, jobs
from queuectl_nb.render.frames.results import check_frame, job_id_column, results
from queuectl_nb.render.json_shapes import (
    ERROR_GROUP_FIELDS,
    WORKER_FIELDS,
    WORKER_STATES,
    decode_stream,
    flatten,
    stats_json,
)
from queuectl_nb.store.rows import join_stream
from queuectl_nb.store.spool import STREAMS
from queuectl_nb.store.stats import EMPTY_STATS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.error_groups import FailedJobs
    from queuectl_nb.store.limits import Limit
    from queuectl_nb.store.metrics import AttemptMetrics
    from queuectl_nb.store.reader import Reader
    from queuectl_nb.store.stats import Stats

__all__ = [
    "attempts",
    "check_frame",
    "error_groups",
    "found_lines",
    "grid",
    "job_id_column",
    "jobs",
    "limits",
    "metrics",
    "results",
    "settings",
    "stats",
    "status",
    "workers",
]

MAX_COMBINATIONS = 1_000_000

_INTEGER_STATS = ("attempts", "max_rss_bytes")


_ATTEMPT_TYPES: Mapping[str, Callable[[Any], Any]] = {
    "number": arrays.integers,
    "pid": arrays.integers,
    "started_at": lambda values: arrays.timestamps(arrays.epoch_seconds(values)),
    "finished_at": lambda values: arrays.timestamps(arrays.epoch_seconds(values)),
    "outcome": lambda values: arrays.named_categories(values, OUTCOME_NAMES),
    "exit_code": arrays.integers,
    "user_cpu_s": arrays.nullable_floats,
    "system_cpu_s": arrays.nullable_floats,
    "max_rss_bytes": arrays.integers,
}
"""Columns of an attempt that are not strings."""
_WORKER_TYPES: Mapping[str, Callable[[Any], Any]] = {
    "pid": arrays.integers,
    "state": lambda values: arrays.named_categories(values, WORKER_STATES),
    "started_at": lambda values: pd.DatetimeIndex(pd.to_datetime(values, utc=True, format="ISO8601")).as_unit("ms"),
    "jobs_done": arrays.integers,
}
"""Columns of a worker that are not strings."""
_ERROR_GROUP_TYPES: Mapping[str, Callable[[Any], Any]] = {
    "count": arrays.integers,
    "reason": lambda values: arrays.named_categories(values, REASONS),
    "first_at": lambda values: arrays.timestamps(arrays.epoch_seconds(values)),
    "last_at": lambda values: arrays.timestamps(arrays.epoch_seconds(values)),
}
"""Columns of a group of failed jobs that are not strings."""


def attempts(reader: Reader) -> pd.DataFrame:
    """Return all attempts: index (``job_id``, ``number``), the JSON fields, ``waited`` and ``ran``."""
    fields = [name for name in ATTEMPT_FIELDS if name not in STREAMS]
    stream_columns = [f"{each}{part}" for each in STREAMS for part in ("", "_tail", "_size")]
    names = [*fields, "due_at", *stream_columns]
    rows = reader.attempt_rows(", ".join("jobs.id" if name == "job_id" else f"attempts.{name}" for name in names))
    raw: dict[str, Sequence[Any]] = dict(
        zip(names, zip(*rows, strict=True) if rows else ((),) * len(names), strict=True)
    )
    for each in STREAMS:
        parts = zip(raw[each], raw[f"{each}_tail"], raw[f"{each}_size"], strict=True)
        raw[each] = [decode_stream(join_stream(head, tail, size)) for head, tail, size in parts]
    columns = {name: _ATTEMPT_TYPES.get(name, arrays.strings)(raw[name]) for name in ATTEMPT_FIELDS}
    started, finished = arrays.epoch_seconds(raw["started_at"]), arrays.epoch_seconds(raw["finished_at"])
    columns["waited"] = arrays.timedeltas(started - arrays.epoch_seconds(raw["due_at"]))
    columns["ran"] = arrays.timedeltas(np.where(np.isnan(finished), time.time(), finished) - started)
    return mark(pd.DataFrame(columns).set_index(["job_id", "number"]))


def status(counts: Mapping[State, int]) -> pd.DataFrame:
    """Return the number of jobs by state: index ``state``, column ``count``."""
    index = pd.CategoricalIndex(arrays.categories(range(len(STATES)), STATES), name="state")
    return mark(pd.DataFrame({"count": arrays.integers([counts[state] for state in State])}, index=index))


def stats(groups: Iterable[tuple[str, Stats]], by: str | None) -> pd.DataFrame:
    """Return metrics in one row, or in one row per group with the index ``by``; nested names are joined with ``_``."""
    names = []
    values = {name: array("d") for name in flatten(stats_json(EMPTY_STATS))}  # a million rows take less than objects
    for group, each in groups:
        names.append(group)
        for name, value in flatten(stats_json(each)).items():
            values[name].append(np.nan if value is None else value)
    columns = {}
    for name, numbers in values.items():
        is_integer = name in _INTEGER_STATS or name.startswith("counts_")
        columns[name] = (arrays.integers if is_integer else arrays.nullable_floats)(np.array(numbers))
    index = None if by is None else pd.Index(arrays.strings(names), name=by)
    return mark(pd.DataFrame(columns, index=index), "rows" if by else "stats")


def workers(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return workers: index ``name``, the JSON fields."""
    raw = {name: [row[name] for row in rows] for name in WORKER_FIELDS}
    return mark(_typed_frame(raw, _WORKER_TYPES).set_index("name"))


def error_groups(groups: Sequence[FailedJobs]) -> pd.DataFrame:
    """Return groups of failed jobs: index ``key``, then their other fields; times are UTC datetimes."""
    rows: dict[str, list[Any]] = {name: [getattr(each, name) for each in groups] for name in ERROR_GROUP_FIELDS}
    return mark(_typed_frame(rows, _ERROR_GROUP_TYPES).set_index("key"), "texts")


def found_lines(rows: Iterable[Mapping[str, Any]], fields: Sequence[str]) -> pd.DataFrame:
    """Return lines of output, or numbers of lines by job: a column for each of ``fields``."""
    found = list(rows)
    types = dict.fromkeys(("attempt", "line", "count"), arrays.integers)
    return mark(_typed_frame({name: [row[name] for row in found] for name in fields}, types), "texts")


def _typed_frame(values: Mapping[str, list[Any]], types: Mapping[str, Callable[[Any], Any]]) -> pd.DataFrame:
    """Return a frame of the named columns: strings, or what ``types`` makes of the values."""
    return pd.DataFrame({name: types.get(name, arrays.strings)(column) for name, column in values.items()})


def grid(values: Mapping[str, Iterable[Any]]) -> pd.DataFrame:
    """Return all combinations of the values, the last name varying fastest; a single value is refused.

    Columns with None are not converted, which would turn it into NaN and whole numbers beside it into floats.
    """
    for name, each in values.items():
        if isinstance(each, str | bytes) or not isinstance(each, Iterable):
            raise BadInput(f"{name} must be a list of values, not {quoted(each)}; put it into a list")
    if not values:
        return pd.DataFrame()
    columns = {name: each if isinstance(each, Sequence) else list(each) for name, each in values.items()}
    if (count := math.prod(map(len, columns.values()))) > MAX_COMBINATIONS:
        raise BadInput(f"the grid has {count} combinations; at most {MAX_COMBINATIONS} are allowed")
    frame = pd.DataFrame(itertools.product(*columns.values()), columns=list(columns), dtype=object)
    converted = [name for name, each in columns.items() if not any(value is None for value in each)]
    frame[converted] = frame[converted].infer_objects()
    return frame


def limits(rows: Sequence[Limit]) -> pd.DataFrame:
    """Return limits: index ``queue``, columns ``limit`` and ``running``."""
    columns = {name: arrays.integers([getattr(row, name) for row in rows]) for name in ("limit", "running")}
    return mark(pd.DataFrame(columns, index=pd.Index(arrays.strings([row.queue for row in rows]), name="queue")))


def settings(values: Settings) -> pd.DataFrame:
    """Return settings: index ``key``, columns ``value``, ``default``, ``meaning``."""
    columns = {
        "value": arrays.objects([getattr(values, key) for key in SETTINGS]),
        "default": arrays.objects([row.default for row in SETTINGS.values()]),
        "meaning": arrays.strings([row.meaning for row in SETTINGS.values()]),
    }
    return mark(pd.DataFrame(columns, index=pd.Index(arrays.strings(list(SETTINGS)), name="key")), "texts")


def metrics(attempts: Iterable[AttemptMetrics]) -> pd.DataFrame:
    """Return a row per point: ``job_id``, ``attempt``, ``time``, ``step``, ``name``, ``value``.

    ``attrs["invalid_lines"]`` counts the lines that were not JSON objects, by job.
    """
    ids: list[str] = []
    codes: dict[str, int] = {}
    parts: dict[str, list[NDArray[np.float64]]] = {name: [np.empty(0)] for name in ("time", "step", "value")}
    invalid: dict[str, int] = {}
    counts: list[tuple[int, int, int, int]] = []
    for attempt in attempts:
        ids.append(attempt.job_id)
        invalid[attempt.job_id] = invalid.get(attempt.job_id, 0) + attempt.invalid
        for name, columns in attempt.series.items():
            code = codes.setdefault(name, len(codes))
            counts.append((len(ids) - 1, attempt.number, code, len(columns[0])))
            for each, column in zip(parts, columns, strict=True):
                parts[each].append(np.frombuffer(column, dtype="float64"))
    names = list(codes)
    rows = np.array(counts, dtype="int64").reshape(-1, 4)
    repeated = np.repeat(rows[:, :3], rows[:, 3], axis=0)
    values = {name: np.concatenate(each) for name, each in parts.items()}
    frame = pd.DataFrame(
        {
            "job_id": pd.array(np.array(ids or [""], dtype=object)[repeated[:, 0]], dtype="string"),
            "attempt": arrays.integers(repeated[:, 1]),
            "time": arrays.timestamps(values["time"]),
            "step": _steps(values["step"]),
            "name": arrays.categories(repeated[:, 2], names),
            "value": values["value"],
        }
    )
    frame.attrs["invalid_lines"] = {job_id: count for job_id, count in invalid.items() if count}
    return mark(frame, "rows")


def _steps(values: NDArray[np.float64]) -> pd.arrays.IntegerArray | pd.arrays.FloatingArray:
    """Return integers if all steps are whole numbers."""
    known = values[~np.isnan(values)]
    whole = bool(np.all(np.isfinite(known) & (known == np.floor(known)) & (np.abs(known) < 2**53)))
    return arrays.integers(values) if whole else arrays.nullable_floats(values)
