"""The records of an attempt: what is public, and what is recorded if nobody says otherwise."""

from __future__ import annotations

from queuectl_nb.model.attempt import ATTEMPT_FIELDS, STREAM_FIELDS, AttemptRecord, Ending, Usage


def test_public_fields() -> None:
    """The JSON object of an attempt has these fields in this order, and the record has an attribute for each."""
    assert (
        *("job_id", "number", "token", "worker", "pid", "host", "started_at", "finished_at"),
        *("outcome", "exit_code", "signal", "error", "user_cpu_s", "system_cpu_s", "max_rss_bytes", "stdout", "stderr"),
        *("reason", "error_key"),
    ) == ATTEMPT_FIELDS
    assert AttemptRecord._fields == ATTEMPT_FIELDS


def test_stream_fields() -> None:
    """What an attempt has written is in six fields of its ending."""
    assert STREAM_FIELDS == ("stdout", "stdout_tail", "stdout_size", "stderr", "stderr_tail", "stderr_size")
    assert set(STREAM_FIELDS) < set(Ending._fields)


def test_ending_without_facts() -> None:
    """An attempt that left nothing has empty streams of size 0 and no values; everything else is unknown."""
    known = {"finished_at": 5.0, "stdout": "", "stdout_size": 0, "stderr": "", "stderr_size": 0, "values": ()}
    known["usage"] = Usage(None, None, None)
    assert Ending(5.0)._asdict() == dict.fromkeys(Ending._fields) | known
