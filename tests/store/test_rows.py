"""Rows of the database as records of the model."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.attempt import Lease
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.job import JobRecord
from queuectl_nb.model.state import State
from queuectl_nb.store.rows import job_from_row, join_stream, lease_from_row, parse_environments


@pytest.mark.parametrize(
    ("head", "tail", "size", "joined"),
    [
        (None, None, 0, None),
        ("all", None, 3, "all"),
        (b"\xff", None, 1, b"\xff"),
        (None, "end", 9, None),
        (b"\xff", "yz", 10, b"\xff\n... 7 bytes not kept here ...\nyz"),
        ("\xe4b", b"\xff", 10, b"\xc3\xa4b\n... 6 bytes not kept here ...\n\xff"),
    ],
)
def test_join_stream(head: Any, tail: Any, size: int, joined: Any) -> None:
    """A line between head and tail says how many bytes are missing; if one of them is bytes, so is the whole."""
    assert join_stream(head, tail, size) == joined


@pytest.mark.parametrize(
    ("env", "environment", "own", "recorded"),
    [("{}", 1, {}, {"A": "1"}), ('{"B": "2"}', 1, {"B": "2"}, {"A": "1"}), ("{}", 9, {}, {})],
)
def test_lease_from_row(env: str, environment: int, own: dict[str, str], recorded: dict[str, str]) -> None:
    """A lease has the environment of its job and the recorded one, which many jobs share."""
    environments = parse_environments([(1, '{"A": "1"}')])
    row = (7, "job-7", 2, "true", "/", "default", 5, 1, 3, 30.0, "/bin/bash", "command", env, environment)
    lease = lease_from_row(row, "token", environments)
    facts = (7, "job-7", 2, "token", "true", "/", "default", 5, 1, 3, 30.0, own, recorded, "/bin/bash", "command", None)
    assert lease == Lease._make(facts)


@pytest.mark.parametrize(("result", "value"), [(None, None), ("null", None), ('{"a": [1]}', {"a": [1]}), ("0", 0)])
def test_job_from_row(result: str | None, value: object) -> None:
    """State, names and result of a job are parsed; everything else is as stored."""
    row = (
        1,
        "a",
        "true",
        "dead",
        5,
        1,
        None,
        2.5,
        "q",
        '["x", "y"]',
        "[]",
        "/",
        1.0,
        2.0,
        3.0,
        None,
        None,
        1,
        "e",
        "w",
    )
    record = job_from_row((*row, result, "function", "k", 0.5, '{"loss": 1}', "1", 9, "/bin/sh"))
    facts = (*row[:3], State.DEAD, *row[4:9], ("x", "y"), (), *row[11:])
    assert record == JobRecord(*facts, value, "function", "k", 0.5, {"loss": 1}, "1", 9, "/bin/sh")
    assert type(record.state) is State


@pytest.mark.parametrize(
    ("column", "value"),
    [("state", "odd"), ("tags", "x"), ("tags", "7"), ("after", "{"), ("result", "{"), ("metrics", "zz")],
)
def test_values_edited_by_hand(column: str, value: str) -> None:
    """The error names the job, the column and the value."""
    row = dict.fromkeys(JobRecord._fields) | {"id": "a", "state": "dead", "tags": "[]", "after": "[]", column: value}
    with pytest.raises(BadEnvironment, match=f"job a has an invalid stored {column} '{value}'; correct it"):
        job_from_row(tuple(row.values()))
