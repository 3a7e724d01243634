"""What users may filter and sort jobs by; test_reader.py has the jobs that are found."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import State
from queuectl_nb.store.job_filter import Filter


def test_no_options() -> None:
    """Without options all jobs are listed, the last changed first."""
    assert Filter.from_options() == Filter(state=(), reverse=False)
    assert Filter().order_by() == "ORDER BY rev DESC, seq DESC"
    assert Filter().condition() == ("", Filter().terms()[1])


def test_options() -> None:
    """Options are stored as the query needs them; a state given twice counts once."""
    found = Filter.from_options(
        state=["dead", "failed", "dead"], queue="gpu", tag="x", search="a b", error="k", sort="run-at", limit=0
    )
    assert found == Filter(("dead", "failed"), "gpu", "x", "a b", "k", "run_at", limit=0)
    assert Filter.from_options(state="dead", reverse=True, after=(3, 4)) == Filter(
        ("dead",), reverse=True, after=(3, 4)
    )


def test_in_states() -> None:
    """Other states replace those of the filter; everything else stays."""
    assert Filter(("dead",), "gpu").in_states(iter([State.FAILED])) == Filter(("failed",), "gpu")


@pytest.mark.parametrize("name", ["state", "queue", "tag", "search", "error"])
def test_empty_options(name: str) -> None:
    """An empty value was computed by somebody who meant no job, not all of them."""
    options: list[dict[str, Any]] = [{name: ""}, {name: []}, {name: ()}]
    for each in options:
        with pytest.raises(BadInput) as caught:
            Filter.from_options(**each)
        assert str(caught.value) == f"{name} is empty; leave it out to select any"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"state": "deat"},
            "state 'deat' is unknown; did you mean dead? valid: pending, processing, failed, completed",
        ),
        ({"state": ["dead", 5]}, "state 5 is unknown"),
        ({"queue": "a b"}, "queue 'a b' is not valid"),
        ({"tag": "../x"}, "tag '../x' is not valid"),
        ({"search": "a\0b"}, "search text contains a NUL"),
        ({"error": "a\0b"}, "error key contains a NUL"),
        ({"sort": "size"}, "sort field 'size' is unknown"),
        ({"limit": -1}, "limit must be from 0"),
        ({"limit": "x"}, "limit must be a whole number from 0"),
    ],
)
def test_invalid_options(options: dict[str, Any], why: str) -> None:
    """The error names the option and, where there are few, the valid values."""
    with pytest.raises(BadInput) as caught:
        Filter.from_options(**options)
    assert str(caught.value).startswith(why)
