"""Converts rows to records of the model; column orders are those of ``queries.sql``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from queuectl_nb.model.attempt import AttemptRecord, Lease
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.job import JobRecord
from queuectl_nb.model.state import State
from queuectl_nb.model.validation import quoted

__all__ = [
    "JOB_COLUMNS",
    "SHORT_JOB_COLUMNS",
    "attempt_from_row",
    "job_from_row",
    "join_stream",
    "lease_from_row",
    "parse_environments",
]

JOB_COLUMNS = ", ".join(JobRecord._fields)
"""The columns of a row for :func:`job_from_row`."""
SHORT_JOB_COLUMNS = ", ".join({"after": "'[]'", "result": "NULL"}.get(name, name) for name in JobRecord._fields)
"""The columns without long values that lists do not show."""
_STATE, _TAGS, _AFTER, _RESULT, _METRICS = map(JobRecord._fields.index, ("state", "tags", "after", "result", "metrics"))
"""Positions of the columns that are converted."""


def _parse_names(text: str) -> tuple[str, ...]:
    return () if text == "[]" else tuple(map(str, json.loads(text)))


_EMPTY: Mapping[str, str] = {}


@lru_cache(maxsize=256)
def _parse_environment(text: str) -> Mapping[str, str]:
    """Parse an environment; cached, because the jobs of a notebook share one."""
    found: dict[str, str] = json.loads(text)
    return found


_PARSERS = {_STATE: State, _TAGS: _parse_names, _AFTER: _parse_names, _RESULT: json.loads, _METRICS: json.loads}


def job_from_row(row: tuple[Any, ...]) -> JobRecord:
    """Return the record of a row of :data:`JOB_COLUMNS`.

    Raises :class:`BadEnvironment` for a value that only an edit by hand can have put there.
    """
    values = list(row)
    try:
        values[_STATE] = State(values[_STATE])
        values[_TAGS] = _parse_names(values[_TAGS])
        values[_AFTER] = _parse_names(values[_AFTER])
        if values[_RESULT] is not None:
            values[_RESULT] = json.loads(values[_RESULT])
        if values[_METRICS] is not None:
            values[_METRICS] = json.loads(values[_METRICS])
    except (TypeError, ValueError) as error:
        raise _invalid_value(row) from error
    return JobRecord(*values)


def _invalid_value(row: tuple[Any, ...]) -> BadEnvironment:
    """Return the error that names the first column that cannot be converted."""
    for position, parse in _PARSERS.items():
        try:
            if row[position] is not None:
                parse(row[position])
        except (TypeError, ValueError):
            break
    what = f"{JobRecord._fields[position]} {quoted(row[position])}"
    return BadEnvironment(f"job {row[1]} has an invalid stored {what}; correct it, or restore a backup")


def parse_environments(found: Iterable[tuple[int, str]]) -> dict[int, Mapping[str, str]]:
    """Return recorded environments by id."""
    return {number: _parse_environment(body) for number, body in found}


def lease_from_row(row: tuple[Any, ...], token: str, environments: Mapping[int, Mapping[str, str]]) -> Lease:
    """Return the lease of a row of ``ready_in_queue``, whose columns are the fields of a lease but the token."""
    seq, job_id, number, *rest, shell, kind, env, environment = row
    own = _EMPTY if env == "{}" else _parse_environment(env)
    return Lease._make(
        (seq, job_id, number, token, *rest, own, environments.get(environment, _EMPTY), shell, kind, None)
    )


def join_stream(head: str | bytes | None, tail: str | bytes | None, size: int) -> str | bytes | None:
    """Join the stored head and tail of a stream with a line that says how many bytes are missing."""
    if head is None or tail is None:
        return head
    kept = len(_encode(head)) + len(_encode(tail))
    gap = f"\n... {size - kept} bytes not kept here ...\n"
    if isinstance(head, str) and isinstance(tail, str):
        return head + gap + tail
    return _encode(head) + gap.encode() + _encode(tail)


def _encode(part: str | bytes) -> bytes:
    return part.encode() if isinstance(part, str) else part


def attempt_from_row(row: tuple[Any, ...]) -> AttemptRecord:
    """Return the record of a row of ``attempts_of_job``."""
    facts, (reason, key, out, out_tail, out_size, err, err_tail, err_size) = row[:15], row[15:]
    streams = join_stream(out, out_tail, out_size), join_stream(err, err_tail, err_size)
    return AttemptRecord._make((*facts, *streams, reason, key))
