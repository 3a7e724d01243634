"""Statements over a set of rows: one execution for many, where starting a statement costs as much as its work.

A statement in ``queries.sql`` with ``VALUES :rows`` takes rows of so many values; here it is run for a list of rows,
a fixed number at a time, so that SQLite prepares no more than a few forms of each.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["PLACEHOLDER", "expand", "run_for_rows"]

PLACEHOLDER = "(VALUES :rows)"
BATCH_ROWS = (64, 8)
"""Rows of one execution, the larger first; what is left goes one by one. Few sizes, since SQLite prepares a form for
each. 64 times the 20 values of the longest row are far below what a SQLite that knows UPDATE FROM takes (32,766)."""


@cache
def expand(statement: str, rows: int, width: int) -> str:
    """Return the statement for so many rows of so many values each."""
    one = f"({', '.join('?' * width)})"
    return statement.replace(PLACEHOLDER, f"(VALUES {', '.join([one] * rows)})")


def run_for_rows(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Run ``statement`` over all rows: as many at a time as go, what is left one by one."""
    if not rows:
        return
    width, start = len(rows[0]), 0
    for size in BATCH_ROWS:
        while len(rows) - start >= size:
            values = tuple(chain.from_iterable(rows[start : start + size]))
            connection.execute(expand(statement, size, width), values)
            start += size
    if start < len(rows):
        connection.executemany(expand(statement, 1, width), rows[start:])
