"""Formats durations, from milliseconds to days."""

from __future__ import annotations

__all__ = ["format_duration"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def format_duration(seconds: float, *, running: bool = False) -> str:
    """Return a duration in its two largest units.

    Below a minute, a ``running`` duration has whole seconds, so that it changes once a second.

    >>> [format_duration(each) for each in (0.0123, 0.25, 4.25, 59.6, 200, 3725, 2 * 86400 + 3 * 3600)]
    ['12 ms', '0.2 s', '4.2 s', '1 min 00 s', '3 min 20 s', '1 h 02 min', '2 d 03 h']
    """
    seconds = max(0.0, seconds)
    if running and seconds < _MINUTE:
        return f"{int(seconds)} s"
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    return _long(round(seconds))


def _long(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min {seconds % _MINUTE:02} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE:02} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR:02} h"
