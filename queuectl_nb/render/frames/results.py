"""The DataFrame of results: what went into each job beside what came out of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pandas as pd

from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.frames import arrays
from queuectl_nb.render.frames.jobs import STATES

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from queuectl_nb.store.reader import Reader

__all__ = ["JOB_ID", "check_frame", "job_id_column", "results"]

JOB_ID = "job_id"
"""The column in which a frame may name the jobs of its rows."""
_LARGE = 2**63
"""Whole numbers from here on are Python's own."""


def job_id_column(frame: pd.DataFrame) -> list[str] | None:
    """Return the ids that the frame's column ``job_id`` holds; None where it has none."""
    if not _has_column(frame, JOB_ID):
        return None
    named = frame[JOB_ID]
    if isinstance(named, pd.DataFrame):
        msg = f"the DataFrame has {named.shape[1]} columns {JOB_ID!r}; name them apart"
        raise BadInput(msg)
    return [str(job_id) for job_id in named]


def results(reader: Reader, frame: pd.DataFrame | None, ids: Sequence[str] | None) -> pd.DataFrame:
    """Return parameters, state, duration, memory and result columns of jobs in one frame.

    Parameters
    ----------
    frame
        The parameters, a row a job; without it the jobs' commands, indexed by ``id``.
    ids
        The jobs of the frame's rows, in order; without them all jobs.

    Raises
    ------
    BadInput
        There are not as many jobs as rows.
    """
    if frame is not None and ids is not None and len(frame) != len(ids):
        msg = f"the frame has {len(frame)} rows, but there are {len(ids)} jobs for them"
        raise BadInput(msg)
    found = {row[0]: row[1:] for row in reader.result_rows(ids)}
    chosen = list(found) if ids is None else list(ids)
    gone = (None,) * 6
    rows = [found.get(job_id, gone) for job_id in chosen]
    command, state, started, finished, memory, result = zip(*rows, strict=True) if rows else ((),) * 6
    ends = [time.time() if each == "processing" else end for each, end in zip(state, finished, strict=True)]
    facts = {
        "state": arrays.categories([-1 if each is None else STATES.index(each) for each in state], STATES),
        "ran": arrays.timedeltas(arrays.floats(ends) - arrays.floats(started)),
        "max_rss_bytes": arrays.integers(memory),
    }
    if frame is None:
        own = pd.DataFrame({"command": arrays.strings(command)}, index=pd.Index(arrays.strings(chosen), name="id"))
    else:
        own = frame
        if not _has_column(frame, JOB_ID):
            facts = {JOB_ID: arrays.strings(chosen), **facts}
    more: dict[str, Any] = {}
    taken: set[Hashable] = set(own.columns.get_level_values(0))
    _add_columns(more, taken, facts, "job")
    _add_columns(
        more, taken, _result_columns([None if each is None else json.loads(each) for each in result]), "result"
    )
    return _join_columns(own, pd.DataFrame(more, index=own.index))


def check_frame(frame: object) -> None:
    """Refuse what is no DataFrame."""
    if not isinstance(frame, pd.DataFrame):
        msg = f"results takes the DataFrame of the parameters, not {type(frame).__name__}; jobs are given as jobs=..."
        raise BadInput(msg)


def _has_column(frame: pd.DataFrame, name: str) -> bool:
    """Tell whether a column has this plain name."""
    return any(isinstance(label, str) and label == name for label in frame.columns)


def _add_columns(columns: dict[str, Any], taken: set[Hashable], more: dict[str, Any], suffix: str) -> None:
    """Add columns; one whose name is taken gets the suffix, as often as it needs."""
    for name, values in more.items():
        free = name
        while free in taken:
            free = f"{free}_{suffix}"
        taken.add(free)
        columns[free] = values


def _join_columns(own: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of both, whatever their labels are like: some twice, some of several levels."""
    levels = own.columns.nlevels
    if levels > 1:
        more.columns = pd.MultiIndex.from_tuples([(name, *[""] * (levels - 1)) for name in more.columns])
    return pd.concat([own, more], axis="columns")  # one index object for both: its labels may stand twice


def _result_columns(values: Sequence[Any]) -> dict[str, Any]:
    """Return a column for each key of the results that are objects; those that are none stand under ``result``."""
    keys = dict.fromkeys(key for value in values if isinstance(value, dict) for key in value)
    columns = {
        key: _typed_array([value.get(key) if isinstance(value, dict) else None for value in values]) for key in keys
    }
    others = [None if isinstance(value, dict) else value for value in values]
    if any(value is not None for value in others):
        whole = "result"
        while whole in columns:
            whole += "_result"
        columns[whole] = _typed_array(others)
    return columns


def _typed_array(values: Sequence[Any]) -> Any:
    """Return JSON values as an array of the type that fits all of them; a null is a missing value."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pd.array(list(values), dtype="boolean")
    if kinds == {str}:
        return arrays.strings(values)
    if kinds and kinds <= {int, float}:
        large = any(isinstance(value, int) and abs(value) >= _LARGE for value in values)
        make = arrays.objects if large else arrays.integers if kinds == {int} else arrays.nullable_floats
        return make(values)
    return arrays.objects(values)
