"""Times: parsing what users type, and the text of a stored one."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from queuectl_nb.model.errors import BadEnvironment, BadInput
from queuectl_nb.model.validation import MAX_QUOTED, quoted

__all__ = ["MAX_TIME", "format_time", "invalid_time", "next_time_of_day", "parse_time"]

MAX_TIME = 253_402_300_799.0
"""9999-12-31T23:59:59Z in epoch seconds: the last time that ISO 8601 text can express."""
_TIME_OF_DAY = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?\Z")
_EPOCH_MS = 210_866_760_000_000
"""The Julian day of 1970-01-01 in milliseconds, as SQLite counts."""


def parse_time(what: str, value: object) -> float:
    """Return epoch seconds for ISO 8601 text or a datetime; without an offset it is local time."""
    at = value
    if isinstance(value, str) and value.isascii() and len(value) <= MAX_QUOTED:
        with contextlib.suppress(ValueError):
            at = datetime.fromisoformat(value)
    if isinstance(at, datetime):
        try:
            stamp = at.timestamp()
        except (OverflowError, ValueError, OSError):
            stamp = -1.0
        if 0 <= stamp <= MAX_TIME:
            return stamp
        raise BadInput(f"{what} must lie between 1970 and 9999, not {quoted(str(value))}")
    raise BadInput(f"{what} must be a time such as 03:00 or 2027-03-01T08:00:00Z (ISO 8601), not {quoted(value)}")


def next_time_of_day(value: object, now: datetime) -> object:
    """Return the next time after ``now`` at which it is ``03:00`` or ``03:00:30``; other values unchanged.

    >>> next_time_of_day("03:00", datetime(2027, 3, 1, 8, 0))
    datetime.datetime(2027, 3, 2, 3, 0)
    """
    if not isinstance(value, str) or not _TIME_OF_DAY.match(value):
        return value
    try:
        at = datetime.combine(now.date(), time.fromisoformat(f"0{value}" if value[1] == ":" else value))
    except ValueError:  # 25:00
        return value
    return at if at > now else at + timedelta(days=1)


def format_time(stamp: float | None) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC with milliseconds and ``Z``; None stays None.

    Raises :class:`BadEnvironment` for a time outside of the years 1 to 9999.

    >>> format_time(0.0015)
    '1970-01-01T00:00:00.002Z'
    """
    if stamp is None:
        return None
    try:
        # rounded exactly as SQLite's strftime, so that the views show the same millisecond
        whole_ms = int(stamp * 1000.0 + _EPOCH_MS + 0.5) - _EPOCH_MS
        return _second(whole_ms // 1000) + _fraction(whole_ms % 1000)
    except (OSError, OverflowError, TypeError, ValueError) as error:
        raise invalid_time(stamp) from error


def invalid_time(stamp: object) -> BadEnvironment:
    """Return the error for a stored value that is not a time, for example because it was edited by hand."""
    return BadEnvironment(f"invalid stored time {quoted(stamp)}; 'queuectl doctor' names the job")


@lru_cache(maxsize=4096)
def _second(stamp: int) -> str:
    """Format a whole second; cached, because most times of many jobs are in the same few hours."""
    return f"{datetime.fromtimestamp(stamp, UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=1000)
def _fraction(milliseconds: int) -> str:
    return f".{milliseconds:03d}Z"
