"""Commands as people wrote them: the source of a Python cell instead of the shell command that runs it."""

from __future__ import annotations

import re

__all__ = ["MAX_LISTED_CHARS", "cell_source", "displayed_command", "listed_command"]

MAX_LISTED_CHARS = 300
"""Characters of a command in a list; a command has up to 100,000."""

_CELL_COMMAND = re.compile(
    r"exec (?:'[^\n]*'|\S+) -m queuectl_nb\.child\.cell(?P<values>[^\n]*)"
    r" <<'(?P<end>CELL_*)'\n(?P<source>.*)\n(?P=end)",
    re.DOTALL,
)
_QUOTE = """'"'"'"""
_JOINED_WORD = re.compile(rf"(?<![^\s])'(?:[^']*{_QUOTE})+[^']*'(?![^\s])")
"""A word with single quotes, as ``shlex.join`` writes it."""
_SPECIAL = frozenset('"$`\\!')


def cell_source(command: str) -> tuple[str, str] | None:
    r"""Return source and variables of the Python cell that a command runs; None for other commands.

    >>> cell_source("exec /usr/bin/python3 -m queuectl_nb.child.cell lr=0.1 <<'CELL'\nprint(lr)\nCELL")
    ('print(lr)', 'lr=0.1')
    """
    match = _CELL_COMMAND.fullmatch(command)
    return None if match is None else (match["source"], match["values"].strip())


def displayed_command(command: str) -> str:
    """Return the text that cards, plots and pages show for a command.

    >>> import shlex
    >>> print(displayed_command(shlex.join(["python", "-c", "print('x')"])))
    python -c "print('x')"
    """
    source = cell_source(command)
    return _JOINED_WORD.sub(_in_double_quotes, command) if source is None else source[0]


def listed_command(command: str) -> str:
    """Return the text that lists show for a command: its first :data:`MAX_LISTED_CHARS` characters."""
    source = cell_source(command)
    text = displayed_command(command[: 2 * MAX_LISTED_CHARS]) if source is None else source[0]
    from queuectl_nb.model.failure import cut  # an enqueue does not load it

    return cut(text, MAX_LISTED_CHARS)


def _in_double_quotes(match: re.Match[str]) -> str:
    return f'"{word}"' if not _SPECIAL & {*(word := match[0][1:-1].replace(_QUOTE, "'"))} else match[0]
