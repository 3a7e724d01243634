"""DataFrames with real types, built column by column. The only place that knows pandas.

Rows come as tuples and are turned by columns, which for a million jobs takes less time than ``pandas.read_sql`` takes
for the same columns without their types (``benchmarks/frames.py``).
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from queuectl_nb.forms.shapes import WORKER_FIELDS, stats_json, text
from queuectl_nb.model.attempt import ATTEMPT_FIELDS
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.settings import SETTINGS
from queuectl_nb.model.state import State
from queuectl_nb.store.rows import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.reading import Filter, Reading
    from queuectl_nb.store.stats import Stats

__all__ = ["IDS", "attempts", "jobs", "results", "settings", "stats", "status", "workers"]

IDS = "queuectl_ids"
"""Where a frame that was enqueued remembers the ids of its jobs (``frame.attrs``)."""
_STATES = [str(state) for state in State]
_TIMES = frozenset({"run_at", "created_at", "updated_at", "started_at", "finished_at"})
_WHOLE = frozenset(
    {"priority", "attempts", "max_retries", "exit_code", "pid", "max_rss_bytes", "number", "jobs_done", "count"}
)
_DECIMAL = frozenset({"timeout", "user_cpu_s", "system_cpu_s"})

Column = Any


def _times(seconds: np.ndarray) -> pd.DatetimeIndex:
    """Turn epoch seconds (nan: unknown) into UTC datetimes of milliseconds."""
    return pd.DatetimeIndex(_milliseconds(seconds).view("datetime64[ms]")).tz_localize("UTC")


def _spans(seconds: np.ndarray) -> pd.TimedeltaIndex:
    """Turn seconds (nan: unknown) into timedeltas of milliseconds."""
    return pd.TimedeltaIndex(_milliseconds(seconds).view("timedelta64[ms]"))


def _milliseconds(seconds: np.ndarray) -> Column:
    unknown = np.isnan(seconds)
    whole = np.rint(np.where(unknown, 0.0, seconds) * 1000).astype("int64")
    whole[unknown] = np.iinfo("int64").min  # how numpy writes "not a time"
    return whole


def _floats(values: Sequence[Any]) -> Column:
    return np.array(values, dtype="float64")


def _names_of(values: Sequence[Any]) -> Column:
    return _objects([[] if each == "[]" else json.loads(each) for each in values])


def _parsed(values: Sequence[Any]) -> Column:
    return _objects([None if each is None else json.loads(each) for each in values])


def _whole(values: Sequence[Any]) -> Column:
    return pd.array(list(values), dtype="Int64")


def _texts(values: Sequence[Any]) -> Column:
    return pd.array(list(values), dtype="string")


_KINDS: dict[str, Callable[[Sequence[Any]], Column]] = {
    **dict.fromkeys(_TIMES, lambda values: _times(_floats(values))),
    **dict.fromkeys(_WHOLE, _whole),
    **dict.fromkeys(_DECIMAL, lambda values: pd.array(_floats(values), dtype="Float64")),
    "state": lambda values: pd.Categorical(values, categories=_STATES),
    "outcome": lambda values: pd.Categorical(values, categories=OUTCOME_NAMES),
    "tags": _names_of,
    "after": _names_of,
    "result": _parsed,
}
"""How the values of a field become a typed column; text where the field is not named."""


def _typed(name: str, values: Sequence[Any]) -> Column:
    """Turn a column of plain values into the type that its field has."""
    return _KINDS.get(name, _texts)(values)


def _objects(values: Sequence[Any]) -> Column:
    """Return an array of objects, also where they are lists of one length."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, Sequence[Any]]:
    """Turn rows into columns by name."""
    return dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())


def jobs(reading: Reading, wanted: Filter) -> pd.DataFrame:
    """Return the jobs of a filter: index ``id``, the contract's fields, ``waited`` and ``ran``."""
    raw = _columns(JOB_FIELDS, reading.job_rows(wanted, ", ".join(JOB_FIELDS)))
    frame = pd.DataFrame({name: _typed(name, values) for name, values in raw.items()})
    started, finished = _floats(raw["started_at"]), _floats(raw["finished_at"])
    waited = started - _floats(raw["run_at"])
    waited[waited < 0] = np.nan  # the run_at of a retry that is still to come
    frame["waited"] = _spans(waited)
    frame["ran"] = _spans(_ran(started, finished, raw["state"]))
    return frame.set_index("id")


def _ran(started: np.ndarray, finished: np.ndarray, states: Sequence[str]) -> Column:
    """Return how long each ran, in seconds: until now where it still does."""
    running = np.array([state == "processing" for state in states], dtype=bool)
    return np.where(running, time.time(), finished) - started


def attempts(reading: Reading) -> pd.DataFrame:
    """Return every attempt: index (``job_id``, ``number``), the contract's fields, ``waited`` and ``ran``."""
    facts = ["jobs.id" if name == "job_id" else f"attempts.{name}" for name in ATTEMPT_FIELDS if name not in _STREAMS]
    extra = [f"{each}{part}" for each in _STREAMS for part in ("", "_tail", "_size")]
    rows = reading.attempt_rows(", ".join([*facts, "due_at", *extra]))
    names = [*(name for name in ATTEMPT_FIELDS if name not in _STREAMS), "due_at", *extra]
    raw = _columns(names, rows)
    for each in _STREAMS:
        parts = zip(raw[each], raw[f"{each}_tail"], raw[f"{each}_size"], strict=True)
        raw[each] = [text(stream(head, tail, size)) for head, tail, size in parts]
    frame = pd.DataFrame({name: _typed(name, raw[name]) for name in ATTEMPT_FIELDS})
    started, finished = _floats(raw["started_at"]), _floats(raw["finished_at"])
    frame["waited"] = _spans(np.maximum(started - _floats(raw["due_at"]), 0))
    states = ["processing" if outcome is None else "" for outcome in raw["outcome"]]
    frame["ran"] = _spans(_ran(started, finished, states))
    return frame.set_index(["job_id", "number"])


_STREAMS = ("stdout", "stderr")


def status(counts: Mapping[State, int]) -> pd.DataFrame:
    """Return the number of jobs by state: index ``state``, column ``count``."""
    index = pd.CategoricalIndex(_STATES, categories=_STATES, name="state")
    return pd.DataFrame({"count": pd.array([counts[state] for state in State], dtype="Int64")}, index=index)


def stats(groups: Mapping[str, Stats], by: str | None) -> pd.DataFrame:
    """Return metrics: one row, or one a group with the index ``by``; nested names joined with ``_``."""
    rows = [_flat(stats_json(each)) for each in groups.values()]
    names = list(rows[0]) if rows else list(_flat(_NO_STATS))
    frame = pd.DataFrame(
        {
            name: _whole(_column(rows, name))
            if name in _COUNTS
            else pd.array(_floats(_column(rows, name)), dtype="Float64")
            for name in names
        }
    )
    if by is not None:
        frame.index = pd.Index(list(groups), name=by, dtype="string")
    return frame


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


_COUNTS = frozenset({"attempts", "max_rss_bytes", *(f"counts_{state}" for state in _STATES)})
_PERCENTILES = {"p50": None, "p95": None}
_NO_STATS: dict[str, Any] = {
    "counts": dict.fromkeys(_STATES, 0),
    "attempts": 0,
    "avg_duration_s": None,
    "run_s": _PERCENTILES,
    "wait_s": _PERCENTILES,
    "attempts_per_job": None,
    "per_minute": None,
    "cpu_s": None,
    "max_rss_bytes": None,
}


def _flat(shape: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in shape.items():
        if isinstance(value, dict):
            found |= {f"{name}_{key}": each for key, each in value.items()}
        else:
            found[name] = value
    return found


def workers(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the workers: index ``name``, the contract's fields."""
    frame = pd.DataFrame({name: _worker_column(name, _column(rows, name)) for name in WORKER_FIELDS})
    return frame.set_index("name")


def _worker_column(name: str, values: Sequence[Any]) -> Column:
    if name == "started_at":
        return pd.to_datetime(pd.Series(values, dtype="object"), utc=True, format="ISO8601").astype(
            "datetime64[ms, UTC]"
        )
    if name == "state":
        return pd.Categorical(values, categories=["idle", "busy", "stopping", "lost"])
    return _typed(name, values)


def settings(values: Settings) -> pd.DataFrame:
    """Return the settings: index ``key``, columns ``value``, ``default``, ``meaning``."""
    return pd.DataFrame(
        {
            "value": _objects([getattr(values, key) for key in SETTINGS]),
            "default": _objects([row.default for row in SETTINGS.values()]),
            "meaning": pd.array([row.meaning for row in SETTINGS.values()], dtype="string"),
        },
        index=pd.Index(list(SETTINGS), name="key", dtype="string"),
    )


def results(reading: Reading, frame: pd.DataFrame | None, ids: Sequence[str] | None) -> pd.DataFrame:
    """Return parameters, state, duration, memory and result columns of jobs in one frame.

    ``ids`` are the jobs of ``frame``'s rows, in order; without them the frame must remember them from its enqueue,
    and without a frame all jobs are taken. Rows keep the frame's index; a job that was removed has an unknown state.
    """
    if ids is None and frame is not None:
        ids = frame.attrs.get(IDS)
        if ids is None:
            msg = "this frame was not enqueued here: give its jobs (q.results(frame, jobs))"
            raise BadInput(msg)
    if frame is not None and ids is not None and len(frame) != len(ids):
        msg = f"the frame has {len(frame)} rows, but there are {len(ids)} jobs"
        raise BadInput(msg)
    found = {row[0]: row[1:] for row in reading.outcomes(ids)}
    chosen = list(found) if ids is None else list(ids)
    unknown = (None,) * 5
    state, started, finished, memory, result = (
        zip(*(found.get(each, unknown) for each in chosen), strict=True) if chosen else ((),) * 5
    )
    facts = pd.DataFrame(
        {
            "job_id": pd.array(chosen, dtype="string"),
            "state": pd.Categorical(state, categories=_STATES),
            "ran": _spans(_ran(_floats(started), _floats(finished), [str(each) for each in state])),
            "max_rss_bytes": pd.array(list(memory), dtype="Int64"),
        }
    )
    parts = [facts, _spread([None if each is None else json.loads(each) for each in result])]
    if frame is not None:
        for part in parts:
            part.index = frame.index
        parts.insert(0, frame)
    return _joined(parts)


def _spread(values: Sequence[Any]) -> pd.DataFrame:
    """Spread results that are objects over columns; others stand under ``result``."""
    names = dict.fromkeys(key for value in values if isinstance(value, dict) for key in value)
    columns: dict[str, Any] = {
        name: [value.get(name) if isinstance(value, dict) else None for value in values] for name in names
    }
    rest = [None if isinstance(value, dict) else value for value in values]
    if any(each is not None for each in rest) or not names:
        columns["result"] = _objects(rest)
    return pd.DataFrame(columns, index=range(len(values)))


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put frames side by side; a name that is taken already gets ``_result`` behind it."""
    seen: set[Any] = set()
    fitted = []
    for part in parts:
        renamed = part.rename(columns={name: f"{name}_result" for name in part.columns if name in seen})
        seen.update(renamed.columns)
        fitted.append(renamed)
    return pd.concat(fitted, axis=1)
