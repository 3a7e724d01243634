"""One run of a job: the lease under which a worker holds it, its usage, and its row of history."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ATTEMPT_FIELDS", "AttemptRecord", "Ending", "Lease", "Usage"]

ATTEMPT_FIELDS = (
    "job_id",
    "number",
    "token",
    "worker",
    "pid",
    "host",
    "started_at",
    "finished_at",
    "outcome",
    "exit_code",
    "signal",
    "error",
    "user_cpu_s",
    "system_cpu_s",
    "max_rss_bytes",
    "stdout",
    "stderr",
)
"""The JSON fields of an attempt, in their order; also the columns of ``attempt_view``."""


class Lease(NamedTuple):
    """A worker's claim on one attempt: what it must run, and the token that fences its result.

    ``number`` counts all attempts of the job ever, ``attempts`` those used of the present budget, this one
    included. The result is taken only while the job is ``processing`` under ``token``.
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
    env: Mapping[str, str] = MappingProxyType({})
    recorded_env: Mapping[str, str] = MappingProxyType({})


class Usage(NamedTuple):
    """What an attempt used, as the kernel accounts it (wait4): CPU seconds and the peak resident set in bytes."""

    user_cpu_s: float | None = None
    system_cpu_s: float | None = None
    max_rss_bytes: int | None = None


class Ending(NamedTuple):
    """The facts that are recorded with an attempt's outcome.

    A stream is text where it is clean UTF-8 and bytes otherwise; ``*_tail`` is set only where the stream was
    longer than the output limit, and then ``*_size`` says how long it was in bytes.
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
    """Where it ran, if that was not on its worker's host."""
    note: str | None = None
    """What the user should know although the command succeeded (its result was no JSON, say)."""
    usage: Usage = Usage()


class AttemptRecord(NamedTuple):
    """A row of a job's history; times are epoch seconds, None where nothing is known yet."""

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
