"""Commands as people would write them, with less quoting."""

from __future__ import annotations

import re

__all__ = ["MAX_LISTED_CHARS", "displayed_command", "listed_command"]

MAX_LISTED_CHARS = 300
"""Characters of a command in a list; a command has up to 100,000."""

_QUOTE = """'"'"'"""
_JOINED_WORD = re.compile(rf"(?<![^\s])'(?:[^']*{_QUOTE})+[^']*'(?![^\s])")
"""A word with single quotes, as ``shlex.join`` writes it."""
_SPECIAL = frozenset('"$`\\!')


def displayed_command(command: str) -> str:
    """Return the text that cards, plots and pages show for a command.

    >>> import shlex
    >>> print(displayed_command(shlex.join(["python", "-c", "print('x')"])))
    python -c "print('x')"
    """
    return _JOINED_WORD.sub(_in_double_quotes, command)


def listed_command(command: str) -> str:
    """Return the text that lists show for a command: its first :data:`MAX_LISTED_CHARS` characters."""
    text = displayed_command(command[: 2 * MAX_LISTED_CHARS])
    from queuectl_nb.model.failure import cut  # an enqueue does not load it

    return cut(text, MAX_LISTED_CHARS)


def _in_double_quotes(match: re.Match[str]) -> str:
    return f'"{word}"' if not _SPECIAL & {*(word := match[0][1:-1].replace(_QUOTE, "'"))} else match[0]
