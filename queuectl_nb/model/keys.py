"""Keys name a piece of work, so that it is done once: made of what a job does, and never of pickles.

>>> canonical({"b": 1, "a": {2.0}}) == canonical({"a": {2.0}, "b": 1})
True
>>> len({canonical(1), canonical(1.0), canonical(True), canonical("1")})
4
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias
from uuid import UUID

__all__ = ["NotCanonical", "WorkHash", "canonical", "digest"]

KEY_BYTES = 8
_Describe: TypeAlias = Callable[[Any], str | None] | None


class NotCanonical(ValueError):
    """A value has no canonical text; the message is its type."""


def canonical(value: Any, describe: Callable[[Any], str | None] | None = None) -> str:
    """Return a text that is equal for equal values of the same type, in every process and version.

    NumPy scalars equal Python's, NaN equals NaN, and the order of dicts and sets does not matter. Supported are None,
    bool, int, float, complex, str, bytes, range, slice, ``...``, paths, dates, times, Decimal, Fraction, UUID, enums,
    dataclasses, NumPy arrays, pandas objects, lists, tuples, dicts and sets of these, and what ``describe`` returns a
    text for. Raises :class:`NotCanonical` for others.
    """
    try:
        return _canonical(value, describe)
    except RecursionError:
        raise NotCanonical(f"{_name_of(type(value))}, nested too deeply") from None


def _canonical(value: Any, describe: _Describe = None) -> str:
    kind = type(value)
    if (convert := _CONVERTERS.get(kind)) is not None:
        return f"{kind.__name__}:{convert(value)}"
    if (join := _CONTAINERS.get(kind)) is not None:
        return f"{kind.__name__}:[{join(value, describe)}]"
    text = None if describe is None else describe(value)
    return _canonical_object(value, describe) if text is None else text


def _canonical_object(value: Any, describe: _Describe) -> str:
    kind = type(value)
    if hasattr(kind, "__fspath__"):
        return f"path:{value.__fspath__()!r}"
    if isinstance(value, enum.Enum):
        return f"enum:{_name_of(kind)}.{value.name}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return f"{_name_of(kind)}({_canonical(fields, describe)})"
    if convert := {"numpy": _canonical_array, "pandas": _canonical_frame}.get(kind.__module__.partition(".")[0]):
        return convert(value)
    raise NotCanonical(_name_of(kind))


def _list(values: Iterable[Any], describe: _Describe) -> str:
    return ",".join([_canonical(value, describe) for value in values])


def _set(values: Iterable[Any], describe: _Describe) -> str:
    return ",".join(sorted(_canonical(value, describe) for value in values))


def _dict(values: Mapping[Any, Any], describe: _Describe) -> str:
    return ",".join(
        sorted(f"{_canonical(key, describe)}={_canonical(value, describe)}" for key, value in values.items())
    )


def _float(value: complex) -> str:
    return repr(value + 0.0)  # -0.0 equals 0.0


def _datetime(value: datetime) -> str:
    return (value.astimezone(UTC) if value.tzinfo is not None else value).isoformat()


_CONVERTERS: dict[type, Callable[[Any], str]] = {
    **dict.fromkeys((type(None), type(...), bool, str, bytes, range), repr),
    int: hex,  # repr refuses very long ones
    **dict.fromkeys((float, complex), _float),
    **dict.fromkeys((Decimal, Fraction, UUID, date, timedelta), str),
    datetime: _datetime,
    time: lambda value: f"{value}" if value.tzinfo is None else f"{value} {value.tzinfo}",
}
_CONTAINERS: dict[type, Callable[[Any, _Describe], str]] = {
    **dict.fromkeys((list, tuple), _list),
    **dict.fromkeys((set, frozenset), _set),
    dict: _dict,
    slice: lambda value, describe: _list((value.start, value.stop, value.step), describe),
}


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _canonical_array(value: Any) -> str:
    if not hasattr(value, "tobytes"):
        raise NotCanonical(_name_of(type(value)))
    kind = value.dtype.kind
    if value.shape == ():
        item = value.item()
        if kind in "mM" and isinstance(item, int):  # a number of nanoseconds, as pandas has them
            return f"{'datetime' if kind == 'M' else 'timedelta'}:{_nanoseconds(item, kind)}"
        if kind in "mM" and item is None:
            return "NaTType"
        return f"{value.dtype}:{value!s}" if type(item) is type(value) else _canonical(item)
    if value.dtype.hasobject or value.dtype.names:
        return f"array:{value.dtype}{value.shape}{_canonical(value.ravel().tolist())}"
    if kind in "fc":
        value = value + 0.0  # -0.0 equals 0.0
        value[value != value] = float("nan")  # noqa: PLR0124 - one NaN for all, whatever their bits
    return f"array:{value.dtype.str}{value.shape}{digest(value.tobytes())}"


def _nanoseconds(number: int, kind: str) -> str:
    """Return a time since 1970 or a duration as Python's types have it, with the rest as nanoseconds."""
    whole, rest = divmod(number, 1000)
    try:
        found = timedelta(microseconds=whole)
        text = str(found) if kind == "m" else (datetime(1970, 1, 1) + found).isoformat()  # noqa: DTZ001 - naive
    except OverflowError:
        return f"{number} ns"
    return f"{text}+{rest}" if rest else text


def _canonical_frame(value: Any) -> str:
    if (convert := _SCALARS.get(type(value).__name__)) is not None:
        return convert(value)
    if hasattr(value, "columns"):
        columns = [_column(value.iloc[:, at]) for at in range(value.shape[1])]
        return f"frame:{_labels(value.index)}{_labels(value.columns)}{columns}"
    if hasattr(value, "index") and hasattr(value, "tolist"):
        return f"series:{_canonical(value.name)}{_labels(value.index)}{_column(value)}"
    if hasattr(value, "tolist"):
        return f"values:{_column(value)}"
    raise NotCanonical(_name_of(type(value)))


def _timestamp(value: Any) -> str:
    found = _canonical(value.to_pydatetime(warn=False))
    return f"{found}+{value.nanosecond}" if value.nanosecond else found


_SCALARS: dict[str, Callable[[Any], str]] = {
    "NAType": lambda _: "NAType",
    "NaTType": lambda _: "NaTType",
    "Timestamp": _timestamp,
    "Timedelta": lambda value: _canonical_array(value.to_timedelta64()),
    "Period": lambda value: f"period:{value.freqstr}:{value.ordinal}",
    "Interval": lambda value: f"interval:{value.closed}{_canonical((value.left, value.right))}",
}
"""The scalars of pandas."""


def _column(values: Any) -> str:
    text = _canonical(values.tolist())
    if isinstance(categories := getattr(values.dtype, "categories", None), Iterable):
        text += f" of {_canonical([*categories])}{values.dtype.ordered}"
    return text


def _labels(index: Any) -> str:
    return _canonical([list(index.names), index.tolist()])


def digest(body: bytes) -> str:
    """Return a short hash."""
    return hashlib.blake2b(body, digest_size=KEY_BYTES).hexdigest()


class WorkHash:
    """Hashes pieces of work that are done in the same place."""

    def __init__(self, kind: str, cwd: str, env: Mapping[str, str]) -> None:
        """Begin with what the jobs have in common."""
        self._start = hashlib.blake2b(digest_size=KEY_BYTES)
        self._start.update(canonical((kind, cwd, dict(env))).encode("utf-8", "surrogateescape"))

    def key(self, identity: str, version: str = "") -> str:
        """Return the key; the part before the point is the same for all versions."""
        found = self._start.copy()
        found.update(identity.encode("utf-8", "surrogateescape"))
        return f"{found.hexdigest()}.{version}" if version else found.hexdigest()
