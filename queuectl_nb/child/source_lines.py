"""Source lines that came with pickled functions, for tracebacks."""

from __future__ import annotations

import linecache

__all__ = ["add_lines"]

_known: dict[str, dict[int, str]] = {}


def add_lines(new: dict[str, dict[int, str]]) -> None:
    """Let tracebacks and ``inspect.getsource`` find lines, by name of the file and number; the others are empty."""
    for name, lines in new.items():
        known = _known.setdefault(name, lines)
        known |= lines
        texts = ["\n"] * max(known)
        for number in known:
            texts[number - 1] = known[number]
        linecache.cache[name] = (0, None, texts, name)
