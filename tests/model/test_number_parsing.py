"""Numbers, durations and ages as users type them, and invalid ones of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest

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
    expected = f"priority must be a whole number from 1 to 9, not {validation.quoted(value)}"
    assert refusal(validation.parse_int, "priority", value, 1, 9) == expected


@pytest.mark.parametrize("value", [*NO_NUMBERS, "5s", "1h", "nan", "inf", "Infinity", "1e", ".", "1.2.3"], ids=ascii)
def test_invalid_numbers(value: object) -> None:
    """Seconds are a plain decimal number: no unit, nan, infinity or grouping."""
    found = refusal(validation.parse_number, "resource", value)
    assert found.startswith("resource must be a plain number")
    assert found.endswith(f"not {validation.quoted(value)}")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(
            ("10m", 600),
            ("1h30m", 5400),
            ("7d", 604_800),
            ("1d12h30m", 131_400),
            ("1.5h", 5400),
            ("0m", 0),
        ),
        *((90, 90), ("90", 90), ("0.5", 0.5), ("1e3", 1000), (np.int16(2), 2)),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    """A duration is a number of seconds, or has units from days down to minutes, each at most once."""
    assert validation.parse_duration("delay", value) == seconds


NO_DURATIONS = [
    "",
    "s",
    "5s",
    "1h5s",
    "5 s",
    "5S",
    "5ms",
    "7w",
    "30m1h",
    "1h1h",
    "1h30",
    "-5s",
    "+5s",
    "1_0s",
    "\uff15s",
    "5s\n",
]


@pytest.mark.parametrize("value", [*NO_DURATIONS, "1" * 60 + "s", "nan", "inf", "true"], ids=ascii)
def test_invalid_durations(value: str) -> None:
    """Another text is refused with examples of durations."""
    assert "a number of seconds, or a duration such as 10m, 1h30m or 7d" in refusal(
        validation.parse_duration, "delay", value
    )


def test_durations_out_of_bounds() -> None:
    """The bounds hold with and without units; the error quotes what was given."""
    assert refusal(validation.parse_duration, "lease", "2h", 2, 60) == "lease must be from 2 to 60 seconds, not '2h'"
    assert refusal(validation.parse_duration, "lease", "1", 2, 3600) == "lease must be from 2 to 3600, not '1'"
    assert "must be from" in refusal(validation.parse_duration, "delay", "999999999d")


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
