"""Reads the progress of a job from its output: the last line, and a percentage in it."""

from __future__ import annotations

import re
from typing import NamedTuple

from queuectl_nb.render.ansi import AnsiFilter
from queuectl_nb.render.text_table import visible

__all__ = ["TAIL_BYTES", "OutputProgress", "read_progress"]

TAIL_BYTES = 8192
"""The last line is searched in this many bytes at the end of a stream."""
MAX_LINE_CHARS = 500

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
