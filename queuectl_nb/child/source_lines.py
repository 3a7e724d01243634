"""Source lines that came with pickled functions, for tracebacks."""

from __future__ import annotations

import linecache

__all__ = ["add_lines"]

_known: dict[str, dict[int, str]] = {}


def add_lines(new: dict[str, dict[int, str]]) -> None:
    """Let tracebacks and ``inspect.getsource`` find lines, by name of the file and number; the others are empty."""
    for name, lines in new.items():
        known = _known.setdefault(name, {})
        known |= lines
        texts = [known.get(number, "\n") for number in range(1, max(known) + 1)]
        linecache.cache[name] = (sum(map(len, texts)), None, texts, name)
