"""The objects of ``--json``: jobs, attempts, status, metrics."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.attempt import ATTEMPT_FIELDS
from queuectl_nb.model.job import JOB_FIELDS, TIME_FIELDS
from queuectl_nb.model.times import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.error_groups import FailedJobs
    from queuectl_nb.store.stats import Stats

__all__ = [
    "ERROR_GROUP_FIELDS",
    "WORKER_FIELDS",
    "WORKER_STATES",
    "attempt_json",
    "decode_stream",
    "dependency_texts",
    "error_group_json",
    "extra_json",
    "flatten",
    "job_json",
    "json_number",
    "stats_json",
]

ERROR_GROUP_FIELDS = ("key", "count", "reason", "message", "first_at", "last_at", "example")
WORKER_FIELDS = ("name", "pid", "host", "state", "job_id", "started_at", "jobs_done")
WORKER_STATES = ("idle", "busy", "stopping", "lost")


def decode_stream(stream: str | bytes | None) -> str | None:
    """Return a stream as text; invalid UTF-8 becomes U+FFFD."""
    return stream.decode("utf-8", "replace") if isinstance(stream, bytes) else stream


def json_number(value: float | None) -> float | int | None:
    """Return an integer if the number is whole."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def job_json(job: JobRecord) -> dict[str, Any]:
    """Return a job as JSON object."""
    shape = dict(zip(JOB_FIELDS, job[1:-2], strict=True))
    for key in TIME_FIELDS:
        shape[key] = format_time(shape[key])
    shape["state"] = str(job.state)
    shape["timeout"] = json_number(job.timeout)
    shape["tags"] = list(job.tags)
    shape["after"] = list(job.after)
    return shape


def attempt_json(attempt: AttemptRecord) -> dict[str, Any]:
    """Return an attempt as JSON object."""
    shape = {key: getattr(attempt, key) for key in ATTEMPT_FIELDS}
    shape["started_at"] = format_time(attempt.started_at)
    shape["finished_at"] = format_time(attempt.finished_at)
    shape["stdout"] = decode_stream(attempt.stdout)
    shape["stderr"] = decode_stream(attempt.stderr)
    return shape


def dependency_texts(after: Sequence[str], any_end: Sequence[str]) -> list[str]:
    """Return the jobs that another one waits for as text, where any end will do for some of them."""
    return [f"any end of {each}" if each in any_end else each for each in after]


def extra_json(any_end: Sequence[str], edits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the fields that a job with its history has besides, if it waits for any end of others or was edited."""
    after_any = {"after_any": any_end} if any_end else {}
    return after_any | ({"edits": [_edit_json(edit["at"], edit["changes"]) for edit in edits]} if edits else {})


def _edit_json(at: float, changes: dict[str, list[Any]]) -> dict[str, Any]:
    if "run_at" in changes:
        changes = changes | {"run_at": [format_time(value) for value in changes["run_at"]]}
    return {"at": format_time(at), "changes": changes}


def error_group_json(group: FailedJobs) -> dict[str, Any]:
    """Return a group of failed jobs as JSON object."""
    return asdict(group) | {"first_at": format_time(group.first_at), "last_at": format_time(group.last_at)}


def stats_json(stats: Stats) -> dict[str, Any]:
    """Return metrics as JSON object."""
    shape = {field.name: getattr(stats, field.name) for field in fields(stats)}
    return shape | {"counts": {str(state): n for state, n in stats.counts.items()}}


def flatten(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested object as one row, with names joined by ``_``.

    >>> flatten({"attempts": 3, "run_s": {"p50": 0.1, "p95": 2.0}})
    {'attempts': 3, 'run_s_p50': 0.1, 'run_s_p95': 2.0}
    """
    row: dict[str, Any] = {}
    for name, value in shape.items():
        row |= {f"{name}_{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return row
