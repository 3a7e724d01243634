"""Metrics that a job reports while it runs: lines of JSON, of which an evenly spread selection is kept.

Each name has a series of its own, so that what is reported rarely is not lost among what is reported often. A series
keeps every n-th point, its first and its last one; n doubles when there are too many points in all.
"""

from __future__ import annotations

import json
import math
import sys
from array import array
from typing import Any, NamedTuple

__all__ = ["MAX_POINTS", "MetricsParser", "Point", "ReportedMetrics", "Series", "decode_series"]

MAX_POINTS = 100_000
"""Maximum number of points kept of an attempt."""
MAX_NAMES = 256
"""Maximum number of names in an attempt; more are ignored."""
MAX_NAME_CHARS = 128
MAX_LINE_BYTES = 64 * 1024
MIN_TIMESTAMP = 1e9
"""A smaller ``time`` is a metric of that name, for example the duration of a step."""
NAN = math.nan


class Point(NamedTuple):
    """A value, when it was reported (epoch seconds), and its step; NaN where there is none."""

    time: float
    step: float
    value: float


class ReportedMetrics(NamedTuple):
    """What is stored of the metrics of an attempt."""

    progress: float | None
    last: str | None
    """The last value of each name, as JSON."""
    invalid: int
    """Number of lines that were not JSON objects."""
    complete: bool
    """Whether all lines were read; of a large file they are a sample."""
    points: bytes
    """The series, for :func:`decode_series`."""


class Series:
    """The points of one name."""

    __slots__ = ("_pending", "_seen", "_stride", "steps", "times", "values")

    def __init__(self) -> None:
        self.times, self.steps, self.values = array("d"), array("d"), array("d")
        self._seen, self._stride = 0, 1
        self._pending: Point | None = None
        """The last point, if it is not among those kept."""

    def __len__(self) -> int:
        """Count the points, the last one included."""
        return len(self.times) + (self._pending is not None)

    def add(self, point: Point) -> None:
        """Add a point, which is kept if it is the next one of the selection."""
        if self._seen % self._stride:
            self._pending = point
        else:
            self._pending = None
            self._append(point)
        self._seen += 1

    def _append(self, point: Point) -> None:
        self.times.append(point.time)
        self.steps.append(point.step)
        self.values.append(point.value)

    def halve(self) -> None:
        """Drop every second point."""
        last = self.last
        dropped_last = len(self.times) % 2 == 0
        self.times, self.steps, self.values = self.times[::2], self.steps[::2], self.values[::2]
        self._stride *= 2
        if dropped_last:
            self._pending = last

    @property
    def last(self) -> Point:
        """The newest point."""
        return self._pending or Point(self.times[-1], self.steps[-1], self.values[-1])

    def columns(self) -> tuple[array[float], array[float], array[float]]:
        """Return times, steps and values, the last point included."""
        if self._pending is None:
            return self.times, self.steps, self.values
        rest = self._pending
        return tuple(  # type: ignore[return-value]
            column + array("d", [value])
            for column, value in zip((self.times, self.steps, self.values), rest, strict=True)
        )


class MetricsParser:
    """Parses lines as they are read; keeps at most ``max_points`` points."""

    def __init__(self, max_points: int = MAX_POINTS) -> None:
        self.series: dict[str, Series] = {}
        self.progress: float | None = None
        self.invalid = 0
        self._max_points = max_points
        self._count = 0
        self._partial = b""
        self._skipping = False
        """Whether the rest of a line is to be dropped."""

    def feed(self, data: bytes, began: float, ended: float, *, gap: bool = False) -> None:
        """Parse more of the file; lines without a time were written between ``began`` and ``ended``.

        With ``gap``, what lies before was not read, so the first line may be incomplete.
        """
        if gap:
            self._partial, self._skipping = b"", True
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        if self._skipping and lines:
            self._skipping = False
            del lines[0]
        span = (ended - began) / len(lines) if lines else 0.0
        for number, line in enumerate(lines, 1):
            self._parse(line, began + span * number)
        if self._skipping:
            self._partial = b""
        elif len(self._partial) > MAX_LINE_BYTES:
            self._partial, self._skipping = b"", True
            self.invalid += 1

    def finish(self, ended: float) -> None:
        """Parse a last line without a newline."""
        if self._partial and not self._skipping:
            self._parse(self._partial, ended)
        self._partial = b""

    def _parse(self, line: bytes, written_at: float) -> None:
        if not line.strip():
            return
        try:
            found = json.loads(line) if len(line) <= MAX_LINE_BYTES else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self.invalid += 1
            return
        time = _number(found.get("time"))
        if time is not None and time >= MIN_TIMESTAMP:
            del found["time"]
        else:
            time = written_at
        step = _number(found.pop("step", None))
        progress = _number(found.pop("progress", None))
        if progress is not None and not math.isnan(progress):
            self.progress = min(1.0, max(0.0, progress))
        for name, raw in found.items():
            value = NAN if raw is None else _number(raw)
            if value is not None:
                self._add(name, Point(time, NAN if step is None else step, value))

    def _add(self, name: str, point: Point) -> None:
        series = self.series.get(name)
        if series is None:
            if len(self.series) >= MAX_NAMES or len(name) > MAX_NAME_CHARS or not name.isprintable():
                return
            series = self.series[name] = Series()
        series.add(point)
        self._count += 1
        if self._count > self._max_points - len(self.series):
            self._thin_out()

    def _thin_out(self) -> None:
        """Halve the longest series until there is room for more points, the last of each name included."""
        total = sum(len(each.times) for each in self.series.values())
        while total > self._max_points - 2 * len(self.series):
            longest = max(self.series.values(), key=lambda each: len(each.times))
            longest.halve()
            total = sum(len(each.times) for each in self.series.values())
        self._count = total

    @property
    def last_values(self) -> dict[str, float | int | None]:
        """The last value of each name: None for NaN and infinities, as JSON has none of these."""
        return {name: _json_number(each.last.value) for name, each in self.series.items()}

    def result(self, *, complete: bool = True) -> ReportedMetrics | None:
        """Return what to store; None if nothing was reported."""
        if not self.series and self.progress is None and not self.invalid:
            return None
        last = json.dumps(self.last_values) if self.series else None
        return ReportedMetrics(self.progress, last, self.invalid, complete, _encode(self.series))


def _number(raw: object) -> float | None:
    """Return a number; None for anything else. A number too large for a float is infinite."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        return float(raw)
    except OverflowError:
        return math.inf if raw > 0 else -math.inf


def _json_number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _encode(series: dict[str, Series]) -> bytes:
    """Return names and numbers of points as a line of JSON, then the columns of each series (doubles)."""
    import zlib

    columns = {name: each.columns() for name, each in series.items()}
    parts = [json.dumps([[name, len(each[0])] for name, each in columns.items()]).encode(), b"\n"]
    for each in columns.values():
        parts += [_little_endian(column).tobytes() for column in each]
    return zlib.compress(b"".join(parts), 1)


def decode_series(stored: bytes) -> dict[str, tuple[array[float], array[float], array[float]]]:
    """Return times, steps and values by name, from what :class:`ReportedMetrics` has as ``points``."""
    import zlib

    header, _, body = zlib.decompress(stored).partition(b"\n")
    found: dict[str, Any] = {}
    offset = 0
    for name, count in json.loads(header):
        columns = []
        for _ in range(3):
            column = array("d", body[offset : offset + 8 * count])
            columns.append(_little_endian(column))
            offset += 8 * count
        found[name] = tuple(columns)
    return found


def _little_endian(column: array[float]) -> array[float]:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column
