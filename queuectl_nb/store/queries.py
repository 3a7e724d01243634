"""The statements of ``queries.sql`` as attributes of :data:`Q`, and statements over many rows.

Starting a statement costs as much as its work on one row. Measured with 100,000 inserted jobs, triggers and checks
included: 27 µs a row with a statement each, 7 µs with many rows in a statement.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["BATCH_ROWS", "PLACEHOLDER", "Q", "expand", "insert_rows", "load", "run_for_rows"]

_MARK = "-- name: "
MAX_PARAMETERS = 900
"""Parameters of one INSERT; older builds of SQLite allow 999."""
PLACEHOLDER = "(VALUES :rows)"
BATCH_ROWS = (64, 8)
"""Rows of one execution, larger first; the rest run one by one. Few sizes, because each is a prepared statement.
64 rows of 20 values are far below the limit of any SQLite that has UPDATE FROM (32,766 parameters)."""


def load() -> dict[str, str]:
    """Return the statements by name."""
    statements: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in Path(__file__).with_name("queries.sql").read_text("utf-8").splitlines():
        if line.startswith(_MARK):
            lines = statements.setdefault(line.removeprefix(_MARK).strip(), [])
        elif not line.startswith("--"):
            lines.append(line.strip())
    return {name: " ".join(line for line in body if line).rstrip(";") for name, body in statements.items()}


Q = SimpleNamespace(**load())


def insert_rows(
    connection: sqlite3.Connection, table: str, shared: Mapping[str, object], columns: Mapping[str, Sequence[object]]
) -> None:
    """Insert rows into ``table`` in the current transaction, in the given order.

    Parameters
    ----------
    shared
        Columns whose value is the same for all rows.
    columns
        Columns with one value per row; at least one column, all of the same length.

    Raises
    ------
    sqlite3.IntegrityError
        A row violates a constraint. Earlier rows may have been inserted: roll back.
    """
    rows = len(next(iter(columns.values())))
    batch = (MAX_PARAMETERS - len(shared)) // len(columns)
    shared_values = tuple(shared.values())
    values = zip(*columns.values(), strict=True)
    whole, rest = divmod(rows, batch)
    if whole:
        statement = _insert_statement(table, tuple(shared), tuple(columns), batch)
        connection.executemany(statement, _parameters(shared_values, islice(values, whole * batch), batch))
    if rest:
        statement = _insert_statement(table, tuple(shared), tuple(columns), rest)
        connection.executemany(statement, _parameters(shared_values, values, rest))


def _parameters(shared: tuple[object, ...], values: Iterator[tuple[Any, ...]], count: int) -> Iterator[tuple[Any, ...]]:
    """Yield the parameters of each statement: the shared values, then those of ``count`` rows."""
    while rows := tuple(chain.from_iterable(islice(values, count))):
        yield shared + rows


@lru_cache(maxsize=16)
def _insert_statement(table: str, shared: tuple[str, ...], columns: tuple[str, ...], count: int) -> str:
    """Return the INSERT of ``count`` rows; all names are constants of this package."""
    names = ", ".join((*shared, *columns))
    row = "(" + ", ".join("?" * len(columns)) + ")"
    chosen = ", ".join(["?"] * len(shared) + [f"column{number}" for number in range(1, len(columns) + 1)])
    return f"INSERT INTO {table} ({names}) SELECT {chosen} FROM (VALUES {', '.join([row] * count)})"


@cache
def expand(statement: str, rows: int, width: int) -> str:
    """Replace :data:`PLACEHOLDER` in ``statement`` with ``rows`` rows of ``width`` parameters."""
    row = f"({', '.join('?' * width)})"
    return statement.replace(PLACEHOLDER, f"(VALUES {', '.join([row] * rows)})")


def run_for_rows(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Run a statement of ``queries.sql`` that contains :data:`PLACEHOLDER` for all ``rows``."""
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
