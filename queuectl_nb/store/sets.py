"""Statements over a set of rows: one execution for many, where starting a statement costs as much as its work.

A statement in ``queries.sql`` with ``VALUES :rows`` takes rows of so many values; here it is run for a list of rows,
SIZE at a time, so that SQLite prepares no more than one long form of each.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["MARK", "run", "spread"]

MARK = "(VALUES :rows)"
SIZE = 16
"""Rows of one execution: 16 times the 20 values of the longest row stay below what any SQLite takes (999)."""


@cache
def spread(statement: str, rows: int, width: int) -> str:
    """Return the statement for so many rows of so many values each."""
    one = f"({', '.join('?' * width)})"
    return statement.replace(MARK, f"(VALUES {', '.join([one] * rows)})")


def run(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Run ``statement`` over all rows: SIZE at a time, what is left one by one."""
    if not rows:
        return
    width = len(rows[0])
    whole = len(rows) - len(rows) % SIZE
    for start in range(0, whole, SIZE):
        values = tuple(chain.from_iterable(rows[start : start + SIZE]))
        connection.execute(spread(statement, SIZE, width), values)
    if whole < len(rows):
        connection.executemany(spread(statement, 1, width), rows[whole:])
