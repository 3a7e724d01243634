"""Where an axis of durations has its marks, and what they say: a second and a day are both round."""

from __future__ import annotations

import math

__all__ = ["STEPS", "label", "linear", "logarithmic", "step"]

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
STEPS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(each * _MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * _HOUR for each in (1, 2, 3, 6, 12)),
    *(each * _DAY for each in (1, 2, 7, 14, 30, 90, 365)),
)
"""Seconds between two marks that people count in."""
ENOUGH = 3
"""Marks that an axis should have."""
_ROUND = (0.001, 0.01, 0.1, 1.0, 10.0, _MINUTE, 10 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 7 * _DAY, 30 * _DAY, 365 * _DAY)


def step(wide: float, most: int) -> float:
    """Return the shortest round step of which at most ``most`` fit into ``wide`` seconds.

    >>> step(60, 6), step(3600, 6), step(0, 6)
    (10.0, 600.0, 0.001)
    """
    for each in STEPS:
        if wide / each <= most:
            return each
    return STEPS[-1] * math.ceil(wide / most / STEPS[-1])


def linear(most: float) -> list[float]:
    """Return about six marks from nothing to ``most`` seconds and a little beyond."""
    each = step(most, 6)
    return [each * place for place in range(math.floor(most / each) + 1)]


def logarithmic(low: float, high: float) -> list[float]:
    """Return the round durations from ``low`` to ``high`` seconds, for an axis on which each is a multiple.

    >>> logarithmic(0.5, 30), logarithmic(0.005, 90000)
    ([0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0], [0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0])
    """
    few = [each for each in _ROUND if low <= each <= high]
    return few if len(few) >= ENOUGH else [each for each in STEPS if low <= each <= high]


def label(seconds: float) -> str:
    """Return what a mark says.

    >>> [label(each) for each in (0, 0.005, 0.2, 1.5, 30, 90, 600, 5400, 86400, 7 * 86400)]
    ['0', '5 ms', '0.2 s', '1.5 s', '30 s', '1:30 min', '10 min', '1:30 h', '1 d', '7 d']
    """
    if seconds == 0:
        return "0"
    if seconds < 0.1:
        return f"{seconds * 1000:g} ms"
    if seconds < _MINUTE:
        return f"{seconds:g} s"
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            whole, rest = divmod(round(seconds), int(unit))
            if not rest:
                return f"{whole} {name}"
            return f"{seconds / unit:g} d" if name == "d" else f"{whole}:{rest * 60 // int(unit):02} {name}"
    raise AssertionError(seconds)
