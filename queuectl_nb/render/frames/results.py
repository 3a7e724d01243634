"""The DataFrame of results: parameters and results of jobs in one table."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pandas as pd

from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.frames import arrays
from queuectl_nb.render.frames.display import mark
from queuectl_nb.render.frames.jobs import STATES

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from queuectl_nb.store.reader import Reader

__all__ = ["JOB_ID", "check_frame", "job_id_column", "results"]

JOB_ID = "job_id"
"""Column of a parameter frame that holds the ids of its jobs."""
_INT64_LIMIT = 2**63


def job_id_column(frame: pd.DataFrame) -> list[str] | None:
    """Return the ids in the frame's column ``job_id``; None if there is no such column."""
    if not _has_column(frame, JOB_ID):
        return None
    ids = frame[JOB_ID]
    if isinstance(ids, pd.DataFrame):
        raise BadInput(f"the DataFrame has {ids.shape[1]} columns {JOB_ID!r}; rename all but one")
    return [str(job_id) for job_id in ids]


def results(
    reader: Reader, frame: pd.DataFrame | None, ids: Sequence[str] | None, values: Sequence[Any] | None = None
) -> pd.DataFrame:
    """Return parameters, state, run time, memory and result columns of jobs in one frame.

    Parameters
    ----------
    frame
        Parameters, one row per job; without it, the commands, indexed by ``id``.
    ids
        The job of each row, in order; all jobs if omitted.
    values
        The value of each row, if it is not the JSON result of its job.

    Raises
    ------
    BadInput
        The number of jobs differs from the number of rows.
    """
    if frame is not None and ids is not None and len(frame) != len(ids):
        raise BadInput(f"the frame has {len(frame)} rows, but there are {len(ids)} jobs")
    by_id = {row[0]: row[1:] for row in reader.result_rows(ids)}
    job_ids = list(by_id) if ids is None else list(ids)
    missing = (None,) * 6
    rows = [by_id.get(job_id, missing) for job_id in job_ids]
    command, state, started, finished, memory, result = zip(*rows, strict=True) if rows else ((),) * 6
    ends = [time.time() if each == "processing" else end for each, end in zip(state, finished, strict=True)]
    fields = {
        "state": arrays.named_categories(state, STATES),
        "ran": arrays.timedeltas(arrays.epoch_seconds(ends) - arrays.epoch_seconds(started)),
        "max_rss_bytes": arrays.integers(memory),
    }
    if frame is None:
        left = pd.DataFrame({"command": arrays.strings(command)}, index=pd.Index(arrays.strings(job_ids), name="id"))
    else:
        left = frame
        if not _has_column(frame, JOB_ID):
            fields = {JOB_ID: arrays.strings(job_ids), **fields}
    added: dict[str, Any] = {}
    taken: set[Hashable] = set(left.columns.get_level_values(0))
    _add_columns(added, taken, fields, "job")
    if values is None:
        values = [None if each is None else json.loads(each) for each in result]
    _add_columns(added, taken, _result_columns(values), "result")
    return mark(_join_columns(left, pd.DataFrame(added, index=left.index)))


def check_frame(frame: object) -> None:
    """Reject anything but a DataFrame."""
    if not isinstance(frame, pd.DataFrame):
        raise BadInput(f"results takes a DataFrame of parameters, not {type(frame).__name__}; pass jobs as jobs=...")


def _has_column(frame: pd.DataFrame, name: str) -> bool:
    """Return whether a column has exactly this name."""
    return any(isinstance(label, str) and label == name for label in frame.columns)


def _add_columns(columns: dict[str, Any], taken: set[Hashable], more: dict[str, Any], suffix: str) -> None:
    """Add columns; append the suffix to names that are taken, repeatedly if needed."""
    for name, values in more.items():
        unique = name
        while unique in taken:
            unique = f"{unique}_{suffix}"
        taken.add(unique)
        columns[unique] = values


def _join_columns(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of both; labels of ``left`` may be duplicates or have several levels."""
    levels = left.columns.nlevels
    if levels > 1:
        right.columns = pd.MultiIndex.from_tuples([(name, *[""] * (levels - 1)) for name in right.columns])
    return pd.concat([left, right], axis="columns")  # works with duplicate labels because both share one index object


def _result_columns(values: Sequence[Any]) -> dict[str, Any]:
    """Return a column for each key of results that are objects, and a column ``result`` for all others."""
    keys = dict.fromkeys(key for value in values if isinstance(value, dict) for key in value)
    columns = {
        key: _typed_array([value.get(key) if isinstance(value, dict) else None for value in values]) for key in keys
    }
    others = [None if isinstance(value, dict) else value for value in values]
    if any(value is not None for value in others):
        name = "result"
        while name in columns:
            name += "_result"
        columns[name] = _typed_array(others)
    return columns


def _typed_array(values: Sequence[Any]) -> Any:
    """Return JSON values as an array of the narrowest common type; null is a missing value."""
    types = {type(value) for value in values if value is not None}
    if types == {str}:
        return arrays.strings(values)
    if any(isinstance(value, int) and abs(value) >= _INT64_LIMIT for value in values):
        return arrays.objects(values)
    return pd.array(arrays.objects(values))  # infers Int64, Float64 or boolean
