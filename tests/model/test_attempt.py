"""The records of an attempt: what is public, and what is recorded if nobody says otherwise."""

from __future__ import annotations

from queuectl_nb.model.attempt import ATTEMPT_FIELDS, AttemptRecord, Ending, Lease, Usage


def test_public_fields() -> None:
    """The JSON object of an attempt has these fields in this order, and the record has an attribute for each."""
    assert (
        *("job_id", "number", "token", "worker", "pid", "host", "started_at", "finished_at"),
        *("outcome", "exit_code", "signal", "error", "user_cpu_s", "system_cpu_s", "max_rss_bytes", "stdout", "stderr"),
        *("reason", "error_key"),
    ) == ATTEMPT_FIELDS
    assert AttemptRecord._fields == ATTEMPT_FIELDS


def test_lease_without_environment() -> None:
    """A job that brings no environment adds nothing to that of its worker."""
    lease = Lease(1, "a", 1, "token", "true", "/", "default", 0, 1, None, None)
    assert (dict(lease.env), dict(lease.recorded_env)) == ({}, {})


def test_ending_without_facts() -> None:
    """An attempt that left nothing has empty streams of size 0; everything else is unknown."""
    ending = Ending(5.0)
    assert ending.finished_at == 5.0
    assert (ending.stdout, ending.stdout_size, ending.stderr, ending.stderr_size) == ("", 0, "", 0)
    assert ending.usage == Usage(None, None, None)
    unknown = (ending.started_at, ending.pid, ending.stdout_tail, ending.stderr_tail)
    assert (*unknown, ending.result, ending.host, ending.note) == (None,) * 7
