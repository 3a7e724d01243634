"""Tick positions and labels for durations, at round numbers of seconds, minutes, hours and days."""

from __future__ import annotations

import math

__all__ = ["choose_step", "linear_ticks", "log_ticks", "tick_label"]

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
STEPS_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(each * _MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * _HOUR for each in (1, 2, 3, 6, 12)),
    *(each * _DAY for each in (1, 2, 7, 14, 30, 90, 365)),
)
MIN_TICKS = 3
_COARSE_STEPS_S = (0.001, 0.01, 0.1, 1.0, 10.0, _MINUTE, 600.0, _HOUR, 6 * _HOUR, _DAY, 7 * _DAY, 30 * _DAY, 365 * _DAY)


def choose_step(duration_s: float, max_steps: int) -> float:
    """Return the shortest round step that divides ``duration_s`` into at most ``max_steps`` parts.

    >>> choose_step(60, 6), choose_step(3600, 6), choose_step(0, 6)
    (10.0, 600.0, 0.001)
    """
    for each in STEPS_S:
        if duration_s / each <= max_steps:
            return each
    return STEPS_S[-1] * math.ceil(duration_s / max_steps / STEPS_S[-1])


def linear_ticks(max_s: float) -> list[float]:
    """Return about six ticks from 0 to ``max_s``."""
    step = choose_step(max_s, 6)
    return [step * index for index in range(math.floor(max_s / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return the round durations from ``low`` to ``high`` seconds, for a logarithmic axis.

    >>> log_ticks(0.5, 30), log_ticks(0.005, 90000)
    ([0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0], [0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0])
    """
    few = [each for each in _COARSE_STEPS_S if low <= each <= high]
    return few if len(few) >= MIN_TICKS else [each for each in STEPS_S if low <= each <= high]


def tick_label(seconds: float) -> str:
    """Return the text of a tick.

    >>> [tick_label(each) for each in (0, 0.005, 0.2, 1.5, 30, 90, 600, 5400, 86400, 7 * 86400)]
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
