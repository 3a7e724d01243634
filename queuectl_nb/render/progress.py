"""What the end of a job's output tells: its last line as it stands now, and how far that says the job has come."""

from __future__ import annotations

import re
from typing import NamedTuple

from queuectl_nb.render.ansi import AnsiFilter
from queuectl_nb.render.text_table import visible

__all__ = ["TAIL_BYTES", "OutputProgress", "read_progress"]

TAIL_BYTES = 8192
"""Bytes from a stream's end in which the last line is looked for."""
MAX_LINE_CHARS = 500
"""Characters of a line that are shown."""

_TQDM = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s?%\s?\|")
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s?%")
_WHOLE = 100.0


class OutputProgress(NamedTuple):
    """A line of text, nothing invisible in it; ``share`` is from 0 to 1, None where the line tells of none."""

    line: str = ""
    fraction: float | None = None


def read_progress(tail: bytes) -> OutputProgress:
    r"""Return the last line that is not blank; a carriage return or a newline ends one.

    >>> read_progress(b"loading\n 40%|####      | 4/10\r 50%|#####     | 5/10\r")
    OutputProgress(line='50%|#####     | 5/10', fraction=0.5)
    """
    colours = AnsiFilter(keep_colours=False)
    text = colours.feed(tail) + colours.close()
    for line in reversed(text.split("\n")):
        shown = visible(line.replace("\t", " ")).strip()
        if shown:
            return OutputProgress(shown[:MAX_LINE_CHARS], _share(shown))
    return OutputProgress()


def _share(line: str) -> float | None:
    """Return how far a line says it has come: tqdm's share, or the only percentage; of several nobody knows which."""
    found = _TQDM.findall(line)[:1] or _PERCENT.findall(line)
    if len(found) != 1 or float(found[0]) > _WHOLE:
        return None
    return float(found[0]) / _WHOLE
