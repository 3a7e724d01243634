"""Jobs as columns, for those who make arrays of a million of them.

Most of the time that it takes to read a row goes into handing over its values one by one. So what many jobs have in
common comes as one text, which is parsed once however often it is seen: eleven values a row instead of twenty-one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuectl_nb.store.reader import Filter, Reader

__all__ = ["TIME_FIELDS", "ColumnChunk", "JobColumns", "SharedFields"]

CHUNK_ROWS = 1_000
"""Rows a piece: few enough to stay in the processor's cache while they are turned into columns."""

TIME_FIELDS = ("run_at", "created_at", "updated_at", "started_at", "finished_at")


class SharedFields(NamedTuple):
    """What many jobs have in common."""

    state: str
    priority: int
    attempts: int
    max_retries: int | None
    queue: str
    tags: list[str]
    after: list[str]
    cwd: str
    exit_code: int | None
    error: str | None
    worker: str | None


class ColumnChunk(NamedTuple):
    """Some rows as columns; times in epoch seconds, ``kind`` for :meth:`Columns.kind`, ``result`` as JSON."""

    id: Sequence[str]
    command: Sequence[str]
    run_at: Sequence[float]
    created_at: Sequence[float]
    updated_at: Sequence[float]
    started_at: Sequence[float | None]
    finished_at: Sequence[float | None]
    timeout: Sequence[float | None]
    shared: Sequence[str]
    result: Sequence[str | None]
    rev: Sequence[int]


class JobColumns:
    """The jobs of a filter as pieces of columns.

    Without a limit and a field to sort by they come in the order of enqueue, and ``ordered`` says that they are to be
    sorted yet, by ``rev``: arrays are sorted in less time.
    """

    def __init__(self, reader: Reader, job_filter: Filter) -> None:
        """Prepare to read what is ``wanted``."""
        self._reader = reader
        self._filter = job_filter
        self.is_sorted = job_filter.limit is not None or job_filter.sort is not None

    @staticmethod
    def parse_shared(text: str) -> SharedFields:
        """Return the facts that a text of the column ``kind`` holds."""
        facts = dict(zip(SharedFields._fields, json.loads(text), strict=True))
        return SharedFields(**facts | {name: json.loads(facts[name]) for name in ("tags", "after")})

    def due_at(self, ids: Sequence[str]) -> dict[str, float]:
        """Return when the newest attempts of jobs were due, by id: a retry that is to come has moved ``run_at``."""
        with self._reader.db.read() as connection:
            return dict(connection.execute(Q.due_of_newest_attempts, {"ids": json.dumps(ids)}).fetchall())

    def chunks(self) -> Iterator[ColumnChunk]:
        """Yield the rows, piece by piece."""
        columns = ", ".join(
            f"json_array({', '.join(SharedFields._fields)})" if name == "shared" else name for name in ColumnChunk._fields
        )
        for rows in self._rows(columns):
            yield ColumnChunk(*zip(*rows, strict=True))

    def _rows(self, columns: str) -> Iterator[list[tuple[Any, ...]]]:
        if self.is_sorted:
            rows = self._reader.job_rows(self._filter, columns)
            yield from (rows[first : first + CHUNK_ROWS] for first in range(0, len(rows), CHUNK_ROWS))
            return
        terms, values = self._filter.where()
        if self._filter.state is not None:
            terms.append("+state = :state")  # through the table, not the index: there the rows lie in this order
            values["state"] = self._filter.state
        condition = f"WHERE {' AND '.join(terms)}" if terms else ""
        sql = f"SELECT {columns} FROM jobs {condition} ORDER BY seq"  # noqa: S608 - names of ours
        with self._reader.db.read() as connection:
            cursor = connection.execute(sql, values)
            while rows := cursor.fetchmany(CHUNK_ROWS):
                yield rows
