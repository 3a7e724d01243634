"""Converts Python values to typed pandas and NumPy arrays, also empty ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from queuectl_nb.model.times import MAX_TIME, invalid_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "categories",
    "epoch_seconds",
    "floats",
    "integers",
    "named_categories",
    "nullable_floats",
    "objects",
    "parse_json",
    "strings",
    "timedeltas",
    "timestamps",
]

_NO_TIME = np.iinfo("int64").min
"""NaT."""
_EPOCH_MS = 210_866_760_000_000.0
"""Julian day of the Unix epoch in milliseconds, the time scale of SQLite."""


def floats(values: Sequence[Any] | NDArray[Any]) -> Floats:
    """Return numbers as float64, None as NaN."""
    return np.array(values, dtype="float64")


def epoch_seconds(values: Sequence[Any]) -> Floats:
    """Return stored times as float64, None as NaN; raise ``BadEnvironment`` for a value that is not a time."""
    try:
        seconds = floats(values)
    except (TypeError, ValueError):
        seconds = np.array([value if isinstance(value, int | float | None) else np.inf for value in values], "float64")
    invalid = np.abs(seconds) > MAX_TIME
    if invalid.any():
        raise invalid_time(values[int(invalid.argmax())])
    return seconds


def timestamps(seconds: Floats) -> pd.DatetimeIndex:
    """Return epoch seconds (NaN: unknown) as UTC datetimes in milliseconds."""
    # rounds like format_time and SQLite's strftime
    stamps = _scaled_integers(seconds, lambda known: np.floor(known * 1000.0 + _EPOCH_MS + 0.5) - _EPOCH_MS)
    return pd.DatetimeIndex(stamps.view("datetime64[ms]")).tz_localize("UTC")


def timedeltas(seconds: Floats) -> pd.TimedeltaIndex:
    """Return seconds (NaN: unknown) as timedeltas in microseconds; negative ones become 0."""
    return pd.TimedeltaIndex(
        _scaled_integers(seconds, lambda known: np.rint(np.maximum(known, 0) * 1e6)).view("timedelta64[us]")
    )


def _scaled_integers(seconds: Floats, scaled: Any) -> NDArray[np.int64]:
    unknown = np.isnan(seconds)
    counts: NDArray[np.int64] = scaled(np.where(unknown, 0.0, seconds)).astype("int64")
    counts[unknown] = _NO_TIME
    return counts


def integers(values: Sequence[Any] | NDArray[Any]) -> pd.arrays.IntegerArray:
    """Return integers, None or NaN as ``Int64``."""
    return pd.array(values, dtype="Int64")


def nullable_floats(values: Sequence[Any] | Floats) -> pd.arrays.FloatingArray:
    """Return numbers, None or NaN as ``Float64``."""
    return pd.array(values, dtype="Float64")


def strings(values: Sequence[str | None]) -> pd.arrays.StringArray:
    """Return strings or None as ``string``."""
    return pd.arrays.StringArray(objects(values))


def categories(codes: Sequence[int] | NDArray[Any], names: Sequence[str]) -> pd.Categorical:
    """Return categories from indices into ``names``; -1 is missing."""
    return pd.Categorical.from_codes(np.asarray(codes, dtype="int8"), categories=pd.Index(list(names), dtype="str"))


def named_categories(values: Iterable[str | None], names: Sequence[str]) -> pd.Categorical:
    """Return categories from ``names`` or None."""
    codes = {None: -1} | {name: code for code, name in enumerate(names)}
    return categories([codes[value] for value in values], names)


def objects(values: Iterable[Any]) -> NDArray[np.object_]:
    """Return an object array of any Python values, including lists."""
    return np.fromiter(values, dtype=object)


def parse_json(values: Sequence[str | None]) -> NDArray[np.object_]:
    """Return parsed JSON, a separate object for each row; None stays None."""
    parsed = np.full(len(values), None, dtype=object)
    for row, text in enumerate(values):
        if text is not None:
            parsed[row] = json.loads(text)
    return parsed
