"""Job specs: their fields, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import EDIT_FIELDS, JOB_FIELDS, RUNNING_EDIT_FIELDS, SPEC_FIELDS, JobRecord, JobSpec
from queuectl_nb.model.state import FINISHED_STATES, State

EXPECTED_FIELDS = (  # in the documented order
    "id command state priority attempts max_retries timeout queue tags after cwd run_at created_at updated_at"
    " started_at finished_at exit_code error worker result kind key progress metrics result_repr"
)


def test_fields() -> None:
    """The JSON fields of a job and those of a spec are the documented ones, in order."""
    assert " ".join(JOB_FIELDS) == EXPECTED_FIELDS
    assert (
        " ".join(SPEC_FIELDS)
        == "id command priority delay run_at timeout max_retries queue tags after after_any cwd env shell key"
    )


def test_fields_that_can_be_changed() -> None:
    """All but what identifies a job and where it runs; of a running job what its worker can still apply."""
    assert set(EDIT_FIELDS) == set(SPEC_FIELDS) - {"id", "cwd", "env", "shell", "key"}
    assert set(RUNNING_EDIT_FIELDS) == {"priority", "timeout", "max_retries"}


def test_defaults() -> None:
    """Without other fields the settings and the place of the enqueue apply."""
    assert JobSpec.from_fields({"command": "true", "id": None}) == JobSpec(
        "true", None, 0, 0.0, None, None, None, "default", (), (), (), None, {}, None, "command", None, None, None, None
    )


def test_all_fields() -> None:
    """Every field of a spec is stored with its type."""
    spec = JobSpec.from_fields(
        {
            "id": "a",
            "command": "true",
            "priority": "-3",
            "run_at": "2027-03-01T08:00:00Z",
            "timeout": 0,
            "max_retries": 1000,
            "queue": "gpu",
            "tags": ["x", "y", "x"],
            "after": "b",
            "after_any": ["c"],
            "cwd": "/tmp",
            "env": {"A": "1"},
            "shell": "bash -l",
        }
    )
    assert spec == JobSpec(
        "true",
        "a",
        -3,
        0.0,
        1_803_888_000.0,
        0.0,
        1000,
        "gpu",
        ("x", "y"),
        ("b",),
        ("c",),
        "/tmp",
        {"A": "1"},
        "bash -l",
    )


def test_null_is_the_default() -> None:
    """None, as JSON's null, leaves the default."""
    assert JobSpec.from_fields(dict.fromkeys(SPEC_FIELDS) | {"command": "true"}) == JobSpec("true")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "needs a command"),
        ({"id": "a"}, "needs a command"),
        ({"command": ""}, "empty"),
        ({"command": "true", "timeout": 365 * 86_400 + 1}, "timeout must be"),
        ({"comand": "true"}, "job field 'comand' is unknown; did you mean command? valid: id, command, "),
        ({"state": "dead"}, "is unknown"),
        ({"attempts": 0}, "is unknown"),
        ({"id": "../x"}, "id '../x' is not valid"),
        ({"priority": 1.5}, "priority must be a whole number"),
        ({"priority": 2**63}, "priority must be from"),
        ({"priority": True}, "priority must be"),
        ({"delay": -1}, "delay must be from 0"),
        ({"delay": "5x"}, "delay must be a number of seconds, or a duration"),
        ({"delay": float("nan")}, "delay must be"),
        ({"delay": 1, "run_at": "2027-01-01"}, "either delay or run_at"),
        ({"run_at": "soon"}, "run_at must be a time such as 03:00 or 2027-"),
        ({"timeout": -1}, "timeout must be from 0 to 31536000"),
        ({"timeout": "nan"}, "timeout must be"),
        ({"max_retries": 0}, "max_retries must be from 1 to 1000"),
        ({"max_retries": 10**6}, "max_retries must be from 1 to 1000"),
        ({"queue": "*"}, "queue '*' is not valid"),
        ({"tags": "a,b c"}, "tag 'a,b c' is not valid"),
        ({"tags": 5}, "tags must be a list"),
        ({"tags": [None]}, "tag None is not valid"),
        ({"after": [""]}, "after '' is not valid"),
        ({"id": "a", "after": ["b", "a"]}, "cannot wait for itself"),
        ({"id": "a", "after_any": "a"}, "cannot wait for itself (after_any)"),
        ({"after": ["a", "b"], "after_any": "b"}, "job b is in after and in after_any"),
        ({"cwd": "a\0b"}, "NUL"),
        ({"cwd": "\udcff"}, "UTF-8"),
        ({"env": "A"}, "env must be K=V"),
        ({"env": ["A"]}, "env must be K=V"),
        ({"env": {"A-B": "1"}}, "environment name"),
        ({"env": {"QUEUECTL_DB": "1"}}, "set by queuectl itself"),
    ],
    ids=ascii,
)
def test_invalid_specs(fields: dict[str, object], why: str) -> None:
    """Each invalid input is refused in one line with the reason."""
    whole = fields if why == "needs a command" or "command" in fields else {"command": "true", **fields}
    with pytest.raises(BadInput) as caught:
        JobSpec.from_fields(whole)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


@given(
    st.dictionaries(st.sampled_from(SPEC_FIELDS), st.none() | st.text() | st.integers() | st.floats() | st.booleans())
)
def test_any_json(fields: dict[str, object]) -> None:
    """Any JSON gives a spec or ``BadInput`` in one line, never another error."""
    with contextlib.suppress(BadInput):
        assert 1 <= len(JobSpec.from_fields(fields).command.encode()) <= 100_000


@pytest.mark.parametrize("state", State)
def test_finished_records(state: State) -> None:
    """A job is finished in the states that only a user's action leaves."""
    record = JobRecord._make(state if name == "state" else None for name in JobRecord._fields)
    assert record.is_finished == (state in FINISHED_STATES)


@pytest.mark.parametrize("env", [["A=1=2", "B="], {"A": "1=2", "B": ""}])
def test_environment(env: object) -> None:
    """An environment is a mapping or a list of K=V; a value may contain = and may be empty."""
    assert JobSpec.from_fields({"command": "true", "env": env}).env == {"A": "1=2", "B": ""}
