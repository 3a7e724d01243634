"""Numbers, ages and times as users type them, and invalid ones of every kind."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model import validation
from tests.model.refusal import refusal


def _name(value: int | str) -> str:
    """Return a name for a number that is too long to print."""
    return f"text-{len(value)}" if isinstance(value, str) else f"int-{value.bit_length()}"


NO_NUMBERS = [
    "",
    " 1",
    "1 ",
    "1_000",
    "true",
    "x",
    "\uff11\uff12",
    "\u0661",
    "0x10",
    "1,5",
    "--1",
    "+-1",
    "1\n",
    "1" * 61,
    True,
    False,
    np.True_,
    None,
    [1],
    b"1",
    1j,
]


@pytest.mark.parametrize("value", [*NO_NUMBERS, "1.5", 1.5, 1.0, "1e3", "nan", "inf", math.nan, math.inf], ids=ascii)
def test_invalid_integers(value: object) -> None:
    """An integer is ASCII digits with a sign, or an int, and no other notation."""
    assert "must be a whole number" in refusal(validation.parse_int, "priority", value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, "5s", "1h", "nan", "inf", "Infinity", "1e", ".", "1.2.3"], ids=ascii)
def test_invalid_numbers(value: object) -> None:
    """Seconds are a plain decimal number: no unit, nan, infinity or grouping."""
    assert "must be a plain number" in refusal(validation.parse_number, "resource", value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(
            ("5s", 5),
            ("10m", 600),
            ("1h30m", 5400),
            ("7d", 604_800),
            ("1d12h30m15s", 131_415),
            ("1.5h", 5400),
            ("0m", 0),
        ),
        *((90, 90), ("90", 90), ("0.5", 0.5), ("1e3", 1000), (np.int16(2), 2)),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    """A duration is a number of seconds, or has units from days down to seconds, each at most once."""
    assert validation.parse_duration("delay", value) == seconds


NO_DURATIONS = ["", "s", "5 s", "5S", "5ms", "7w", "30m1h", "1h1h", "1h30", "-5s", "+5s", "1_0s", "\uff15s", "5s\n"]


@pytest.mark.parametrize("value", [*NO_DURATIONS, "1" * 60 + "s", "nan", "inf", "true"], ids=ascii)
def test_invalid_durations(value: str) -> None:
    """Another text is refused with examples of durations."""
    assert "such as 30s, 10m, 1h30m or 7d, or a number of seconds" in refusal(validation.parse_duration, "delay", value)


def test_durations_out_of_bounds() -> None:
    """The bounds hold with and without units; the error quotes what was given."""
    assert (
        refusal(validation.parse_duration, "lease", "1s", 2, 3600) == "lease must be from 2 to 3600 seconds, not '1s'"
    )
    assert refusal(validation.parse_duration, "lease", "1", 2, 3600) == "lease must be from 2 to 3600, not '1'"
    assert "must be from" in refusal(validation.parse_duration, "delay", "999999999d")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("03:00", datetime(2027, 3, 2, 3)),  # noqa: DTZ001 - local time
        ("3:00", datetime(2027, 3, 2, 3)),  # noqa: DTZ001
        ("08:00", datetime(2027, 3, 2, 8)),  # noqa: DTZ001
        ("08:00:01", datetime(2027, 3, 1, 8, 0, 1)),  # noqa: DTZ001
        ("23:59", datetime(2027, 3, 1, 23, 59)),  # noqa: DTZ001
        *((value, value) for value in ("25:00", "03:60", "2027-03-01", "", 3, None)),
    ],
)
def test_next_time_of_day(value: object, expected: object) -> None:
    """A time of day is the next one after now, today or tomorrow; what is none is left alone."""
    assert validation.next_time_of_day(value, datetime(2027, 3, 1, 8)) == expected  # noqa: DTZ001


@pytest.mark.parametrize("value", [-1, "-1", -1e-9, math.nan, math.inf, -math.inf, "1e999", 10**400, 3_153_600_001])
def test_delays_out_of_bounds(value: object) -> None:
    """Negative, infinite and huge delays are refused with the bounds."""
    assert "from 0 to 3153600000" in refusal(validation.parse_duration, "delay", value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, str(2**63), 10**5000, -(10**5000), "9" * 60], ids=_name)
def test_integers_out_of_bounds(value: object) -> None:
    """Integers that SQLite cannot store are refused, even those too long for Python to print."""
    assert "must be from" in refusal(validation.parse_int, "priority", value)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 0, -7, np.int64(-7), np.uint8(3)])
def test_valid_integers(value: object) -> None:
    """Ints of Python and NumPy within SQLite's range are returned as plain ints."""
    found = validation.parse_int("priority", value)
    assert type(found) is int
    assert found == value
    assert validation.parse_int("priority", str(value)) == value


@pytest.mark.parametrize("value", [0, 0.5, "0.5", ".5", "5.", "1e3", np.float32(0.5), np.float64(0.5), np.int16(2)])
def test_valid_numbers(value: object) -> None:
    """Numbers of Python and NumPy, and their texts, are returned as plain floats."""
    found = validation.parse_number("delay", value)
    assert type(found) is float
    assert found == float(value)  # type: ignore[arg-type]


def test_bounds_are_inclusive() -> None:
    """``max_retries`` is from 1 to 1000 inclusive; other values are refused with both bounds."""
    assert [validation.parse_int("max_retries", n, 1, 1000) for n in (1, 1000)] == [1, 1000]
    for value in (0, -1, 1001, 10**6):
        assert (
            refusal(validation.parse_int, "max_retries", value, 1, 1000)
            == f"max_retries must be from 1 to 1000, not {value}"
        )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7d", 604_800),
        ("12h", 43_200),
        ("90m", 5400),
        ("30s", 30),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("0", 0),
        (0, 0),
        ("0d", 0),
    ],
)
def test_ages(value: object, seconds: float) -> None:
    """``7d``, ``12h``, ``90m``, ``30s`` and 0 are ages."""
    assert validation.parse_age("--older-than", value) == seconds


@pytest.mark.parametrize(
    "value", ["", "7", "d", "-7d", "7 d", "7D", "1_0d", "\uff17d", "7d\n", "7w", "nand", 7, False, None, "1" * 60 + "d"]
)
def test_invalid_ages(value: object) -> None:
    """Anything else is refused with an example of an age."""
    assert "such as 7d, 12h, 90m, 30s or 0" in refusal(validation.parse_age, "--older-than", value)


def test_age_out_of_bounds() -> None:
    """An age of more than a hundred years is refused."""
    refusal(validation.parse_age, "--older-than", "99999999999d")


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
    assert validation.parse_time("run_at", value) == stamp


def test_naive_times_are_local() -> None:
    """Naive texts and datetimes are local time."""
    local = datetime(2027, 3, 1, 8)  # noqa: DTZ001 - naive on purpose
    assert validation.parse_time("run_at", "2027-03-01T08:00:00") == local.timestamp()
    assert validation.parse_time("run_at", local) == local.timestamp()


@pytest.mark.parametrize(
    "value",
    [
        *("", "tomorrow", "2027-13-01", "2027-02-30T00:00:00Z", "10:00", "1803888000", "\uff12027-01-01", "x" * 100),
        *(1_803_888_000, None, True, b"2027-03-01", ["2027-03-01"]),
        *("1969-12-31T23:59:59Z", "0001-01-01T00:00:00", "0001-01-01T00:00:00+23:59"),
        *(datetime(1, 1, 1), pd.NaT),  # noqa: DTZ001 - naive on purpose
    ],
    ids=ascii,
)
def test_invalid_times(value: object) -> None:
    """Other texts, bare numbers and times before 1970 are refused in one line."""
    assert refusal(validation.parse_time, "run_at", value).startswith("run_at must ")


@given(st.integers(0, 253_402_300_799_000))
def test_times_round_trip(ms: int) -> None:
    """Every millisecond from 1970 to 9999 survives formatting and parsing."""
    text = validation.format_time(ms / 1000)
    assert text is not None
    assert text.endswith("Z")
    assert len(text) == 24
    assert round(validation.parse_time("run_at", text) * 1000) == ms


def test_missing_time_is_null() -> None:
    """What has not happened yet has no time."""
    assert validation.format_time(None) is None
