"""Times as users type them, and as they are shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model import times, validation
from queuectl_nb.model.errors import BadEnvironment
from tests.model.refusal import refusal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("03:00", datetime(2027, 3, 2, 3)),
        ("3:00", datetime(2027, 3, 2, 3)),
        ("08:00", datetime(2027, 3, 2, 8)),
        ("08:00:01", datetime(2027, 3, 1, 8, 0, 1)),
        ("23:59", datetime(2027, 3, 1, 23, 59)),
        *((value, value) for value in ("25:00", "03:60", "2027-03-01", "", 3, None)),
    ],
)
def test_next_time_of_day(value: object, expected: object) -> None:
    """A time of day is the next one after now, today or tomorrow; what is none is left alone."""
    assert times.next_time_of_day(value, datetime(2027, 3, 1, 8)) == expected


@pytest.mark.parametrize(
    ("value", "stamp"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2027-03-01T08:00:00Z", 1_803_888_000),
        ("2027-03-01T09:00:00+01:00", 1_803_888_000),
        ("2027-03-01T08:00:00.250Z", 1_803_888_000.25),
        (datetime(2027, 3, 1, 8, tzinfo=UTC), 1_803_888_000),
        (datetime(2027, 3, 1, 9, tzinfo=timezone(timedelta(hours=1))), 1_803_888_000),
        (pd.Timestamp("2027-03-01T08:00:00Z"), 1_803_888_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
    ],
)
def test_times(value: object, stamp: float) -> None:
    """ISO 8601 with an offset and aware datetimes, also of pandas, give the epoch seconds."""
    assert times.parse_time("run_at", value) == stamp


def test_naive_times_are_local() -> None:
    """Naive texts and datetimes are local time."""
    local = datetime(2027, 3, 1, 8)
    assert times.parse_time("run_at", "2027-03-01T08:00:00") == local.timestamp()
    assert times.parse_time("run_at", local) == local.timestamp()


@pytest.mark.parametrize(
    "value",
    [
        *("", "tomorrow", "2027-13-01", "2027-02-30T00:00:00Z", "10:00", "1803888000", "\uff12027-01-01", "x" * 100),
        *(1_803_888_000, None, True, b"2027-03-01", ["2027-03-01"]),
        *("1969-12-31T23:59:59Z", "0001-01-01T00:00:00", "0001-01-01T00:00:00+23:59"),
        *(datetime(1, 1, 1), pd.NaT, "9999-12-31T23:59:59.500Z"),
    ],
    ids=ascii,
)
def test_invalid_times(value: object) -> None:
    """Other texts, bare numbers and times before 1970 are refused in one line."""
    found = refusal(times.parse_time, "run_at", value)
    assert found.startswith("run_at must ")
    assert found.endswith((f", not {validation.quoted(value)}", f", not {validation.quoted(str(value))}"))


@given(st.integers(0, 253_402_300_799_000))
def test_times_round_trip(ms: int) -> None:
    """Every millisecond from 1970 to 9999 survives formatting and parsing."""
    text = times.format_time(ms / 1000)
    assert text is not None
    assert text.endswith("Z")
    assert len(text) == 24
    assert round(times.parse_time("run_at", text) * 1000) == ms


def test_missing_time_is_null() -> None:
    """What has not happened yet has no time."""
    assert times.format_time(None) is None


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the local time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_shown_times_are_utc() -> None:
    """Whatever the time zone of the machine."""
    assert times.format_time(987_654_321.5) == "2001-04-19T04:25:21.500Z"


@pytest.mark.parametrize("stamp", ["x", 1e300, float("nan")])
def test_invalid_stored_times(stamp: Any) -> None:
    """A time that was edited by hand is quoted, with the way to find it."""
    with pytest.raises(BadEnvironment) as caught:
        times.format_time(stamp)
    assert str(caught.value) == f"invalid stored time {stamp!a}; 'queuectl doctor' names the job"
