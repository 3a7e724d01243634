"""From SQL's tuples to the model's records; the column orders are those of ``queries.sql``."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.attempt import AttemptRecord, Lease
from queuectl_nb.model.job import JobRecord
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["JOB_COLUMNS", "attempt_from_row", "job_from_row", "join_stream", "lease_from_row", "parse_environments"]

JOB_COLUMNS = (
    "seq, id, command, state, priority, attempts, max_retries, timeout, queue, tags, after, cwd, run_at, created_at,"
    " updated_at, started_at, finished_at, exit_code, error, worker, result, rev"
)
"""The columns from which :func:`job` builds a record."""


def _parse_names(text: str) -> tuple[str, ...]:
    return () if text == "[]" else tuple(json.loads(text))


_EMPTY: Mapping[str, str] = {}


@lru_cache(maxsize=256)
def _parse_environment(text: str) -> Mapping[str, str]:
    """Parse an environment; jobs of one notebook share theirs, so the parsed one is kept."""
    found: dict[str, str] = json.loads(text)
    return found


def job_from_row(row: tuple[Any, ...]) -> JobRecord:
    """Build a record from :data:`JOB_COLUMNS`."""
    values = list(row)
    values[3] = State(values[3])
    values[9] = _parse_names(values[9])
    values[10] = _parse_names(values[10])
    if values[20] is not None:
        values[20] = json.loads(values[20])
    return JobRecord(*values)


def parse_environments(found: Iterable[tuple[int, str]]) -> dict[int, Mapping[str, str]]:
    """Return recorded environments by their ids."""
    return {number: _parse_environment(body) for number, body in found}


def lease_from_row(row: tuple[Any, ...], token: str, environments: Mapping[int, Mapping[str, str]]) -> Lease:
    """Build a lease from ``ready_in_queue`` and the environments that its jobs have ``recorded``."""
    seq, job_id, number, command, cwd, queue, priority, attempts, max_retries, timeout, env, environment = row
    return Lease(
        seq,
        job_id,
        number,
        token,
        command,
        cwd,
        queue,
        priority,
        attempts,
        max_retries,
        timeout,
        _EMPTY if env == "{}" else _parse_environment(env),
        environments.get(environment, _EMPTY),
    )


def join_stream(head: str | bytes | None, tail: str | bytes | None, size: int) -> str | bytes | None:
    """Join the kept head and tail of a stream with a line that says how much is missing between them."""
    if head is None or tail is None:
        return head
    kept = _size(head) + _size(tail)
    gap = f"\n... {size - kept} bytes not kept here ...\n"
    if isinstance(head, str) and isinstance(tail, str):
        return head + gap + tail
    return _encode(head) + gap.encode() + _encode(tail)


def _encode(part: str | bytes) -> bytes:
    return part.encode() if isinstance(part, str) else part


def _size(part: str | bytes) -> int:
    return len(_encode(part))


def attempt_from_row(row: tuple[Any, ...]) -> AttemptRecord:
    """Build a record from ``attempts_of_job``."""
    facts, (out, out_tail, out_size, err, err_tail, err_size) = row[:15], row[15:]
    return AttemptRecord(*(*facts, join_stream(out, out_tail, out_size), join_stream(err, err_tail, err_size)))
