"""Plain values as arrays with real types; empty ones have them too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "categories",
    "floats",
    "integers",
    "nullable_floats",
    "objects",
    "parse_json",
    "strings",
    "timedeltas",
    "timestamps",
]

_NO_TIME = np.iinfo("int64").min
"""How NumPy writes "not a time"."""
_EPOCH_MS = 210_866_760_000_000.0
"""The Julian day of 1970, in the milliseconds in which SQLite counts."""
_EXACT = 2.0**53
"""Whole numbers below are floats exactly."""


def floats(values: Sequence[Any] | NDArray[Any]) -> Floats:
    """Return numbers, and NaN for None."""
    return np.array(values, dtype="float64")


def timestamps(seconds: Floats) -> pd.DatetimeIndex:
    """Return epoch seconds (NaN: unknown) as UTC datetimes, to the millisecond that the JSON shows."""
    # rounded as format_time and SQLite's strftime do it
    stamps = _scaled_integers(seconds, lambda known: np.floor(known * 1000.0 + _EPOCH_MS + 0.5) - _EPOCH_MS)
    return pd.DatetimeIndex(stamps.view("datetime64[ms]")).tz_localize("UTC")


def timedeltas(seconds: Floats) -> pd.TimedeltaIndex:
    """Return seconds (NaN: unknown) as timedeltas, to the microsecond; below nothing there is nothing."""
    return pd.TimedeltaIndex(
        _scaled_integers(seconds, lambda known: np.rint(np.maximum(known, 0) * 1e6)).view("timedelta64[us]")
    )


def _scaled_integers(seconds: Floats, scaled: Any) -> NDArray[np.int64]:
    unknown = np.isnan(seconds)
    counts: NDArray[np.int64] = scaled(np.where(unknown, 0.0, seconds)).astype("int64")
    counts[unknown] = _NO_TIME
    return counts


def integers(values: Sequence[Any] | NDArray[Any]) -> pd.arrays.IntegerArray:
    """Return whole numbers of 64 bits, or None or NaN, as ``Int64``."""
    numbers = np.asarray(values, dtype=None if len(values) else "float64")
    if numbers.dtype.kind == "O":  # with a None in it
        numbers = floats(values)
    unknown = np.isnan(numbers)
    counts = np.where(unknown, 0, numbers).astype("int64")
    if numbers.dtype.kind == "f" and len(values) and np.abs(np.where(unknown, 0, numbers)).max() >= _EXACT:
        counts = np.array(
            [0 if gone else int(value) for value, gone in zip(values, unknown, strict=True)], dtype="int64"
        )
    return pd.arrays.IntegerArray(counts, unknown)


def nullable_floats(values: Sequence[Any] | Floats) -> pd.arrays.FloatingArray:
    """Return numbers, or None or NaN, as ``Float64``."""
    numbers = floats(values)
    return pd.arrays.FloatingArray(np.nan_to_num(numbers, nan=0.0), np.isnan(numbers))


def strings(values: Sequence[str | None]) -> pd.arrays.StringArray:
    """Return texts, or None, as ``string``."""
    return pd.arrays.StringArray(objects(values))


def categories(codes: Sequence[int] | NDArray[Any], names: Sequence[str]) -> pd.Categorical:
    """Return the categories ``names`` from their places; -1 is unknown."""
    return pd.Categorical.from_codes(np.asarray(codes, dtype="int8"), categories=pd.Index(list(names), dtype="str"))


def objects(values: Iterable[Any]) -> NDArray[np.object_]:
    """Return any Python values, also lists, as they are."""
    return np.fromiter(values, dtype=object)


def parse_json(values: Sequence[str | None]) -> NDArray[np.object_]:
    """Return JSON texts parsed, each row's an object of its own; None stays None."""
    found = np.full(len(values), None, dtype=object)
    for place, text in enumerate(values):
        if text is not None:
            found[place] = json.loads(text)
    return found
