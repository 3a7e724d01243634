"""The DataFrame of results: what went into each job beside what came out of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pandas as pd

from queuectl_nb.forms import arrays
from queuectl_nb.forms.jobframe import STATES
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from queuectl_nb.store.reading import Reading

__all__ = ["JOB_ID", "job_ids", "results"]

JOB_ID = "job_id"
"""The column in which a frame may name the jobs of its rows."""
_LARGE = 2**63
"""Whole numbers from here on are Python's own."""


def job_ids(frame: pd.DataFrame) -> list[str] | None:
    """Return the ids that the frame's column ``job_id`` holds; None where it has none."""
    return [str(job_id) for job_id in frame[JOB_ID]] if JOB_ID in frame.columns else None


def results(reading: Reading, frame: pd.DataFrame | None, ids: Sequence[str] | None) -> pd.DataFrame:
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
    found = {row[0]: row[1:] for row in reading.outcomes(ids)}
    chosen = list(found) if ids is None else list(ids)
    gone = (None,) * 6
    rows = [found.get(job_id, gone) for job_id in chosen]
    command, state, started, finished, memory, result = zip(*rows, strict=True) if rows else ((),) * 6
    if frame is None:
        columns: dict[Hashable, Any] = {"command": arrays.texts(command)}
        index: pd.Index[Any] = pd.Index(arrays.texts(chosen), name="id")
    else:
        columns = {name: frame.iloc[:, place].array for place, name in enumerate(frame.columns)}
        index = frame.index
        if JOB_ID not in columns:
            columns[JOB_ID] = arrays.texts(chosen)
    ends = [time.time() if each == "processing" else end for each, end in zip(state, finished, strict=True)]
    facts = {
        "state": arrays.categories([-1 if each is None else STATES.index(each) for each in state], STATES),
        "ran": arrays.spans(arrays.floats(ends) - arrays.floats(started)),
        "max_rss_bytes": arrays.wholes(memory),
    }
    _put(columns, facts, "job")
    _put(columns, _spread([None if each is None else json.loads(each) for each in result]), "result")
    return pd.DataFrame(columns, index=index)


def _put(columns: dict[Hashable, Any], more: dict[str, Any], suffix: str) -> None:
    """Add columns; one whose name is taken gets the suffix, as often as it needs."""
    for name, values in more.items():
        free = name
        while free in columns:
            free = f"{free}_{suffix}"
        columns[free] = values


def _spread(values: Sequence[Any]) -> dict[str, Any]:
    """Return a column for each key of the results that are objects; those that are none stand under ``result``."""
    keys = dict.fromkeys(key for value in values if isinstance(value, dict) for key in value)
    columns = {key: _fitting([value.get(key) if isinstance(value, dict) else None for value in values]) for key in keys}
    others = [None if isinstance(value, dict) else value for value in values]
    if any(value is not None for value in others):
        whole = "result"
        while whole in columns:
            whole += "_result"
        columns[whole] = _fitting(others)
    return columns


def _fitting(values: Sequence[Any]) -> Any:  # noqa: ANN401 - an array of pandas or numpy
    """Return JSON values as an array of the type that fits all of them; a null is a missing value."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pd.array(list(values), dtype="boolean")
    if kinds == {str}:
        return arrays.texts(values)
    if kinds and kinds <= {int, float}:
        large = any(isinstance(value, int) and abs(value) >= _LARGE for value in values)
        make = arrays.objects if large else arrays.wholes if kinds == {int} else arrays.decimals
        return make(values)
    return arrays.objects(values)
