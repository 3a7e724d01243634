"""A cell of Python that runs as a job, shown as its author wrote it instead of as the command that carries it."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["CellSource", "cell_source"]

_CARRIER = re.compile(
    r"exec (?:'[^\n]*'|\S+) -m queuectl_nb\.child\.cell(?P<values>[^\n]*)"
    r" <<'(?P<end>CELL_*)'\n(?P<source>.*)\n(?P=end)",
    re.DOTALL,
)


class CellSource(NamedTuple):
    """A cell's source, and the values that it was given, as the command has them."""

    source: str
    values: str


def cell_source(command: str) -> CellSource | None:
    r"""Return the cell that a command carries; None for any other command.

    >>> cell_source("exec /usr/bin/python3 -m queuectl_nb.child.cell lr=0.1 <<'CELL'\nprint(lr)\nCELL")
    CellSource(source='print(lr)', values='lr=0.1')
    """
    found = _CARRIER.fullmatch(command)
    return None if found is None else CellSource(found["source"], found["values"].strip())
