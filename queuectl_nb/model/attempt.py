"""One attempt to run a job: its lease, its end, and its history record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from queuectl_nb.model.call import CallValue
from queuectl_nb.model.metrics import ReportedMetrics

__all__ = [
    "ATTEMPT_FIELDS",
    "DISK_FULL_NOTE",
    "STREAM_FIELDS",
    "AttemptRecord",
    "Ending",
    "KeptArtifacts",
    "Lease",
    "Usage",
]

DISK_FULL_NOTE = "part of its output was lost: the disk is full"


class Lease(NamedTuple):
    """A worker's claim on one attempt: what to run, and the token that fences its result.

    ``number`` counts all attempts of the job; ``attempts`` those used of the retry budget, including this one. The
    result is only recorded while the job is ``processing`` with this ``token``.
    """

    seq: int
    job_id: str
    number: int
    token: str
    command: str
    cwd: str
    queue: str
    priority: int
    attempts: int
    max_retries: int | None
    timeout: float | None
    env: Mapping[str, str]
    recorded_env: Mapping[str, str]
    shell: str | None
    kind: str
    call: Mapping[str, Any] | None
    """What a Python job runs, with its arguments (``store/calls.py``)."""


class Usage(NamedTuple):
    """Resource usage of an attempt (wait4): CPU time in seconds and peak resident set size in bytes."""

    user_cpu_s: float | None = None
    system_cpu_s: float | None = None
    max_rss_bytes: int | None = None


class KeptArtifacts(NamedTuple):
    """Number of artifacts of an attempt, and their size in bytes."""

    files: int
    size: int
    note: str | None
    """What was not kept, and why."""


class Ending(NamedTuple):
    """The facts that are recorded with an attempt's outcome.

    A stream is text if it is valid UTF-8, otherwise bytes. ``*_tail`` is only set if the stream exceeded the output
    limit; ``*_size`` is the size of the whole stream in bytes.
    """

    finished_at: float
    started_at: float | None = None
    pid: int | None = None
    stdout: str | bytes = ""
    stdout_tail: str | bytes | None = None
    stdout_size: int = 0
    stderr: str | bytes = ""
    stderr_tail: str | bytes | None = None
    stderr_size: int = 0
    result: str | None = None
    host: str | None = None
    """The host it ran on, if not its worker's."""
    note: str | None = None
    """A warning for a command that succeeded, for example that its result was not valid JSON."""
    result_repr: str | None = None
    """The ``repr`` of a Python job's value."""
    artifacts: KeptArtifacts | None = None
    metrics: ReportedMetrics | None = None
    values: tuple[CallValue, ...] = ()
    """The values and exceptions of a Python job's calls."""
    usage: Usage = Usage()


STREAM_FIELDS = tuple(f"{stream}{suffix}" for stream in ("stdout", "stderr") for suffix in ("", "_tail", "_size"))
"""The fields of an ending about what the attempt has written."""


class AttemptRecord(NamedTuple):
    """An attempt in a job's history; times are epoch seconds, None if not known yet."""

    job_id: str
    number: int
    token: str
    worker: str
    pid: int | None
    host: str
    started_at: float
    finished_at: float | None
    outcome: str | None
    exit_code: int | None
    signal: str | None
    error: str | None
    user_cpu_s: float | None
    system_cpu_s: float | None
    max_rss_bytes: int | None
    stdout: str | bytes | None
    stderr: str | bytes | None
    reason: str | None
    """Why it failed: one of ``error_groups.REASONS``."""
    error_key: str | None
    """Equal for attempts that failed in the same way."""


ATTEMPT_FIELDS = AttemptRecord._fields
"""The JSON fields of an attempt, in their order; also the columns of ``attempt_view``."""
