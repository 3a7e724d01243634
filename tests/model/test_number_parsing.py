"""Numbers, ages and moments as people type them: every row of the catalogue of bad input."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput


def _refused(call: object, *args: object) -> str:
    """Call, expect a refusal, and return its message, which must be one printable ASCII line of bearable length."""
    with pytest.raises(BadInput) as caught:
        call(*args)  # type: ignore[operator]
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert 0 < len(message) < 250
    return message


def _make(value: int | str) -> str:
    """Name a number that is too long to be written."""
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
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    """A whole number is ASCII digits with a sign, or an int; nothing that Python or a person might also read as one."""
    assert "must be a whole number" in _refused(validation.parse_int, "priority", value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, "5s", "1h", "nan", "inf", "Infinity", "1e", ".", "1.2.3"], ids=ascii)
def test_what_is_no_decimal_number_is_refused(value: object) -> None:
    """Seconds are a plain decimal number: no unit, no nan, no infinity, no grouping."""
    assert "must be a plain number" in _refused(validation.parse_number, "delay", value)


@pytest.mark.parametrize("value", [-1, "-1", -1e-9, math.nan, math.inf, -math.inf, "1e999", 10**400, 3_153_600_001])
def test_seconds_out_of_bounds_are_refused(value: object) -> None:
    """Negative, infinite and endless delays are refused with the bounds named."""
    assert "from 0 to 3153600000" in _refused(validation.parse_number, "delay", value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, str(2**63), 10**5000, -(10**5000), "9" * 60], ids=_make)
def test_whole_numbers_beyond_the_databases_are_refused(value: object) -> None:
    """What SQLite cannot store is refused, also numbers of so many digits that Python will not write them out."""
    assert "must be from" in _refused(validation.parse_int, "priority", value)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 0, -7, np.int64(-7), np.uint8(3)])
def test_whole_numbers_of_any_make_are_taken(value: object) -> None:
    """Ints of Python and numpy are taken, up to the last that SQLite stores, and come back as plain ints."""
    found = validation.parse_int("priority", value)
    assert type(found) is int
    assert found == value
    assert validation.parse_int("priority", str(value)) == value


@pytest.mark.parametrize("value", [0, 0.5, "0.5", ".5", "5.", "1e3", np.float32(0.5), np.float64(0.5), np.int16(2)])
def test_seconds_of_any_make_are_taken(value: object) -> None:
    """Decimals of Python and numpy, and their texts, are taken and come back as plain floats."""
    found = validation.parse_number("delay", value)
    assert type(found) is float
    assert found == float(value)  # type: ignore[arg-type]


def test_bounds_are_inclusive_and_named() -> None:
    """``max_retries`` goes from 1 to 1000: the bounds pass, their neighbours are refused with both in the line."""
    assert [validation.parse_int("max_retries", n, 1, 1000) for n in (1, 1000)] == [1, 1000]
    for value in (0, -1, 1001, 10**6):
        assert (
            _refused(validation.parse_int, "max_retries", value, 1, 1000)
            == f"max_retries must be from 1 to 1000, not {value}"
        )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7d", 604_800), ("12h", 43_200), ("90m", 5400), ("30s", 30), ("1.5h", 5400), ("0", 0), (0, 0), ("0d", 0)],
)
def test_an_age_is_a_number_with_a_unit(value: object, seconds: float) -> None:
    """``7d``, ``12h``, ``90m``, ``30s`` and 0 are ages."""
    assert validation.parse_age("--older-than", value) == seconds


@pytest.mark.parametrize(
    "value", ["", "7", "d", "-7d", "7 d", "7D", "1_0d", "\uff17d", "7d\n", "7w", "nand", 7, False, None, "1" * 60 + "d"]
)
def test_what_is_no_age_is_refused(value: object) -> None:
    """Anything else is refused, and the line shows what an age looks like."""
    assert "such as 7d, 12h, 90m, 30s or 0" in _refused(validation.parse_age, "--older-than", value)


def test_an_age_beyond_a_hundred_years_is_refused() -> None:
    """A number of days that no clock could subtract is refused."""
    _refused(validation.parse_age, "--older-than", "99999999999d")


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
def test_a_moment_is_iso_text_or_a_datetime(value: object, stamp: float) -> None:
    """ISO 8601 with an offset and aware datetimes, pandas' among them, give their epoch second."""
    assert validation.parse_time("run_at", value) == stamp


def test_a_moment_without_an_offset_is_local_time() -> None:
    """A naive text and a naive datetime mean the wall clock here, as a person would."""
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
def test_what_is_no_moment_is_refused(value: object) -> None:
    """Other texts, bare numbers and moments before 1970 are refused in one line."""
    assert _refused(validation.parse_time, "run_at", value).startswith("run_at must ")


@given(st.integers(0, 253_402_300_799_000))
def test_a_written_time_reads_back_the_same(ms: int) -> None:
    """Every millisecond from 1970 to 9999, written as the JSON time and read again, is the same millisecond."""
    text = validation.format_time(ms / 1000)
    assert text is not None
    assert text.endswith("Z")
    assert len(text) == 24
    assert round(validation.parse_time("run_at", text) * 1000) == ms


def test_no_time_is_null() -> None:
    """What has not happened yet has no time."""
    assert validation.format_time(None) is None
