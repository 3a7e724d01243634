"""Canonical values: what counts as the same argument, and what does not."""

from __future__ import annotations

import dataclasses
import enum
import math
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from queuectl_nb.model.keys import NotCanonical, WorkHash, canonical


class Colour(enum.Enum):
    """An enum."""

    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: float
    y: float = 0.0


BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, np.int64(1)),
        (0.1, np.float64(0.1)),
        (True, np.bool_(True)),
        (math.nan, np.float64("nan")),
        (0.0, -0.0),
        ("a", np.str_("a")),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1, 2, 3}, {3, 2, 1}),
        (NOON, NOON.astimezone(timezone(timedelta(hours=5)))),
        (Path("a/b"), Path("a") / "b"),
        (Colour.RED, Colour(1)),
        (Point(1.0), Point(1.0, 0.0)),
        (np.arange(3), np.arange(6)[:3]),
        (np.array(["a", None], dtype=object), np.array(["a", None], dtype=object)),
        (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2]})),
        (pd.Series([1.5, math.nan]), pd.Series([1.5, math.nan])),
        (pd.NaT, pd.Timestamp("NaT")),
        (pd.Timestamp(NOON), NOON),
        (pd.Timedelta(minutes=1), timedelta(minutes=1)),
        (np.datetime64("2026-11-30T12:00:00.5", "ns"), datetime(2026, 11, 30, 12, 0, 0, 500_000)),
        (np.datetime64("2026-11-30T12", "ns"), pd.Timestamp("2026-11-30T12")),
        (np.datetime64("1969-12-31T12:00:00.000000001", "ns"), pd.Timestamp("1969-12-31T12:00:00.000000001")),
        (np.timedelta64(-1, "ns"), pd.Timedelta(-1, unit="ns")),
        (np.timedelta64(90_000_000_001, "ns"), pd.Timedelta(90_000_000_001, unit="ns")),
        (np.datetime64("NaT", "ns"), np.timedelta64("NaT", "ns")),
        (np.datetime64("NaT", "D"), pd.NaT),
        (time(12, tzinfo=UTC), time(12, tzinfo=timezone(timedelta(0)))),
        (pd.NA, pd.Series([None], dtype="Int64")[0]),
        pytest.param(10**5000, 10**5000, id="long"),
        (np.longdouble(1.5), np.longdouble(1.5)),
        (np.array([math.nan, 0.0], "f4"), np.array([-math.nan, -0.0], "f4")),
        (np.array([0j]), np.array([complex(-0.0, -0.0)])),
        (np.array([(1, 2.0)], [("a", int), ("b", float)]), np.array([(1, 2.0)], [("a", int), ("b", float)])),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), pd.DataFrame([[1, 2]], columns=["a", "a"])),
        (range(3), range(0, 3, 1)),
        (slice(1, None), slice(np.int64(1), None)),
        (..., ...),
        (pd.Period("2026-11"), pd.Period("2026-11")),
        (pd.Interval(0, 1), pd.Interval(0, 1)),
    ],
)
def test_equal(first: Any, second: Any) -> None:
    """These are the same."""
    assert canonical(first) == canonical(second)
    assert canonical([{"k": first}]) == canonical([{"k": second}])


@pytest.mark.parametrize(
    "values",
    [
        (1, 1.0, True, "1", b"1", 1 + 0j, Decimal(1), None, [1], (1,), {1}, {1: 1}),
        ("a", Path("a"), b"a", ["a"]),
        (["a", "b"], ["a,b"], ["a", ["b"]], ["ab"], ["a", "b", ""], [["a"], "b"]),
        ({"a": 1}, {"a": 2}, {"b": 1}, {("a", 1): None}),
        (date(2026, 11, 30), datetime(2026, 11, 30), NOON, "2026-11-30"),
        (NOON, NOON.replace(tzinfo=None)),
        (time(12), time(12, tzinfo=UTC), time(12, tzinfo=BERLIN), time(12, tzinfo=ZoneInfo("Asia/Tokyo"))),
        (Colour.RED, Colour.BLUE, 1),
        (Point(1.0), Point(1.0, 2.0), {"x": 1.0, "y": 0.0}),
        (np.arange(3), np.arange(3.0), np.arange(3).reshape(3, 1), [0, 1, 2]),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}), pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [1]}, [7])),
        (pd.NaT, pd.Timestamp(0), pd.Timestamp(1, unit="s"), pd.Timedelta(1, unit="s"), pd.Timedelta(2, unit="s")),
        (pd.Series([1]), pd.Series([1], index=["x"]), pd.Index([1]), pd.Series([1], name="a")),
        tuple(pd.Timestamp(0) + pd.Timedelta(number, unit="ns") for number in range(3)),
        tuple(np.datetime64(number, "ns") for number in range(3)),
        tuple(pd.Timedelta(number, unit="ns") for number in (-1001, -1, 0, 1, 1000)),
        (np.timedelta64(1, "ns"), np.datetime64(1, "ns"), 1, pd.NA, np.datetime64("NaT", "D"), None),
        (10**5000, 10**5000 + 1),
        (0.0, 1e-20, 2e-20, np.array([1e-20]), np.array([2e-20])),
        (range(3), range(4), slice(3), [0, 1, 2], ...),
        (pd.Period("2026-11"), pd.Period("2026-11-01"), pd.Interval(0, 1), pd.Interval(0, 1, closed="both")),
        (
            pd.Categorical(["a"]),
            pd.Categorical(["a"], ["a", "b"]),
            pd.Categorical(["a"], ordered=True),
            pd.Index(["a"]),
        ),
        (pd.DataFrame({"x": pd.Categorical(["a"])}), pd.DataFrame({"x": ["a"]})),
        (np.array([(1, 2.0)], [("a", int), ("b", float)]), np.array([(1, 2.0)], [("c", int), ("d", float)])),
    ],
)
def test_different(values: tuple[Any, ...]) -> None:
    """Each of these is another value."""
    assert len({canonical(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [object(), open, lambda: None, Point, [object()], {"a": {object()}}, iter([])])
def test_refused(value: Any) -> None:
    """What has no canonical form is named by its type."""
    with pytest.raises(NotCanonical, match=r"\w+\.\w+"):
        canonical(value)


def test_refused_when_too_deep() -> None:
    """So is what contains itself."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(NotCanonical, match=r"builtins\.list, nested too deeply"):
        canonical(value)


def test_same_in_every_process() -> None:
    """The text does not depend on the seed of hashes."""
    code = "from queuectl_nb.model.keys import canonical; print(canonical({frozenset('abcdef'), frozenset('xyz')}))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def test_work() -> None:
    """Kind, directory, environment, identity and version make different keys; versions differ behind the point."""
    make: Callable[..., WorkHash] = WorkHash
    base = make("command", "/a", {"X": "1"})
    keys = [
        base.key("true"),
        base.key("false"),
        make("function", "/a", {"X": "1"}).key("true"),
        make("command", "/b", {"X": "1"}).key("true"),
        make("command", "/a", {"X": "2"}).key("true"),
        make("command", "/a", {}).key("true"),
    ]
    assert len(set(keys)) == len(keys)
    assert base.key("true") == keys[0]
    assert base.key("true", "1234") == f"{keys[0]}.1234"
