"""Progress of a job: the last line of its output with a percentage, and formatted durations and sizes."""

from __future__ import annotations

import re
from typing import NamedTuple

from queuectl_nb.render.ansi import AnsiFilter
from queuectl_nb.render.text_table import visible

__all__ = ["TAIL_BYTES", "OutputProgress", "format_duration", "format_size", "read_progress"]

TAIL_BYTES = 8192
"""The last line is searched in this many bytes at the end of a stream."""
MAX_LINE_CHARS = 500
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400

_TQDM = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s?%\s?\|")
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s?%")


class OutputProgress(NamedTuple):
    """The last line, with hidden characters escaped, and a fraction from 0 to 1, if the line has one."""

    line: str = ""
    fraction: float | None = None


def read_progress(tail: bytes) -> OutputProgress:
    r"""Return the last line that is not blank; lines end with a newline or a carriage return.

    >>> read_progress(b"loading\n 40%|####      | 4/10\r 50%|#####     | 5/10\r")
    OutputProgress(line='50%|#####     | 5/10', fraction=0.5)
    """
    ansi = AnsiFilter(keep_colours=False)
    text = ansi.feed(tail) + ansi.close()
    for line in reversed(text.split("\n")):
        shown = visible(line.replace("\t", " ")).strip()
        if shown:
            return OutputProgress(shown[:MAX_LINE_CHARS], _fraction(shown))
    return OutputProgress()


def _fraction(line: str) -> float | None:
    """Return the percentage of a tqdm bar, or the only percentage in the line."""
    percentages = _TQDM.findall(line)[:1] or _PERCENT.findall(line)
    if len(percentages) != 1 or float(percentages[0]) > 100:
        return None
    return float(percentages[0]) / 100


def format_size(size: float) -> str:
    """Return a number of bytes in a unit that suits it, such as ``1.5 MiB``."""
    from humanize import naturalsize  # slow to load

    return naturalsize(size, binary=True)


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
