"""All jobs of a filter, a million of them, as columns for arrays, as JSON objects and as lines of CSV.

Handing over values one by one takes most of the time of reading a row. So in columns, the fields that many jobs have
in common come as one JSON text, which is parsed once per distinct value: sixteen values a row instead of twenty-eight.
Texts are put together by SQLite. For jobs with unusual values, of which SQLite might write another text than Python,
the record is returned instead.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.job import JOB_FIELDS, TIME_FIELDS
from queuectl_nb.model.times import MAX_TIME
from queuectl_nb.store import rows
from queuectl_nb.store.job_lists import iter_row_chunks, read_rows
from queuectl_nb.store.metrics import add_live, live_values
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.reader import Reader

__all__ = ["CSV_TEXT", "JSON_TEXT", "ColumnChunk", "JobColumns", "SharedFields", "iter_job_texts"]

CHUNK_ROWS = 1_000
"""Few enough to stay in the processor cache while they are turned into columns."""


class SharedFields(NamedTuple):
    """The fields that many jobs have in common."""

    state: str
    priority: int
    attempts: int
    max_retries: int | None
    queue: str
    tags: list[str]
    after: list[str]
    cwd: str
    exit_code: int | None
    worker: str | None
    kind: str


class ColumnChunk(NamedTuple):
    """Some rows as columns; times in epoch seconds, ``result`` as JSON, ``shared`` for :func:`parse_shared`."""

    id: Sequence[str]
    command: Sequence[str]
    run_at: Sequence[float]
    created_at: Sequence[float]
    updated_at: Sequence[float]
    started_at: Sequence[float | None]
    finished_at: Sequence[float | None]
    timeout: Sequence[float | None]
    error: Sequence[str | None]
    shared: Sequence[str]
    result: Sequence[str | None]
    key: Sequence[str | None]
    progress: Sequence[float | None]
    metrics: Sequence[str | None]
    result_repr: Sequence[str | None]
    rev: Sequence[int]


class JobColumns:
    """Reads the jobs of a filter as chunks of columns.

    Without a limit or sort field the rows come in enqueue order and ``is_sorted`` is False: the caller sorts them by
    ``rev``, which is faster on arrays.
    """

    def __init__(self, reader: Reader, job_filter: Filter) -> None:
        """Prepare to read the jobs of ``job_filter``."""
        self._reader = reader
        self._filter = job_filter
        self.is_sorted = job_filter.limit is not None or job_filter.sort is not None

    @staticmethod
    def parse_shared(text: str) -> SharedFields:
        """Parse a value of the column ``shared``."""
        fields = dict(zip(SharedFields._fields, json.loads(text), strict=True))
        return SharedFields(**fields | {name: json.loads(fields[name]) for name in ("tags", "after")})

    def due_at(self, ids: Sequence[str]) -> dict[str, float]:
        """Return when the latest attempts of jobs were due, by id; ``run_at`` may already be that of a retry."""
        return dict(self._reader.db.query(Q.due_of_newest_attempts, {"ids": json.dumps(ids)}))

    def live_values(self) -> dict[str, tuple[float | None, Mapping[str, Any]]]:
        """Return progress and metrics of the running jobs that have reported any, by id."""
        return live_values(self._reader.db)

    def chunks(self) -> Iterator[ColumnChunk]:
        """Yield the rows, chunk by chunk."""
        shared = f"json_array({', '.join(SharedFields._fields)})"
        columns = ", ".join(shared if name == "shared" else name for name in ColumnChunk._fields)
        for chunk in self._rows(columns):
            yield ColumnChunk(*zip(*chunk, strict=True))

    def _rows(self, columns: str) -> Iterator[list[tuple[Any, ...]]]:
        if self.is_sorted:
            found = self._reader.job_rows(self._filter, columns)
            yield from (found[first : first + CHUNK_ROWS] for first in range(0, len(found), CHUNK_ROWS))
            return
        # rows are stored in enqueue order: read the table, not the index on states
        condition, values = self._filter.condition(state_column="+state")
        sql = f"SELECT {columns} FROM jobs {condition} ORDER BY seq"
        # closing: the traceback of an interrupt would keep the cursor, and with it the snapshot, open
        with self._reader.db.read() as connection, closing(connection.execute(sql, values)) as cursor:
            while chunk := cursor.fetchmany(CHUNK_ROWS):
                yield chunk


_NAMES = ("id", "queue", "worker", "key")
"""Their only special character is the comma (``parse_name``)."""
_ISO = "%Y-%m-%dT%H:%M:%fZ"
_NOT_OURS = ("[^ -~]", "[eE][0-9][0-9][0-9]", "[eE]+[0-9][0-9][0-9]", "[0-9]" * 309)
"""Patterns of JSON that was not written by us: not ASCII, or with a number for which a float may be too small."""


def _is_foreign(name: str) -> str:
    """Return the SQL that tells whether stored JSON was not written by us."""
    return f"{name} NOT NULL AND ({' OR '.join(f'{name} GLOB {chr(39)}*{each}*{chr(39)}' for each in _NOT_OURS)})"


_UNUSUAL = " OR ".join(
    [
        "state = 'processing'",  # it may have reported more than is in the row
        *(f"{name} NOT BETWEEN 0 AND {MAX_TIME}" for name in TIME_FIELDS),
        *(f"{name} NOT BETWEEN 0 AND 1e9" for name in ("timeout", "progress")),
        *map(_is_foreign, ("result", "metrics")),
        *(f"""{name} <> '[]' AND {name} NOT GLOB '[[]"*"]'""" for name in ("tags", "after")),
        r"""result GLOB '"*' AND instr(result, '\')""",
        *(f"{name} NOT NULL AND instr({name}, char(0))" for name in ("error", "result_repr")),  # it ends a printf()
    ]
)


def iter_job_texts(db: Database, reader: Reader, job_filter: Filter, text: str) -> Iterator[str | JobRecord]:
    """Yield ``JSON_TEXT`` or ``CSV_TEXT`` of a filter's jobs in order; of an unusual job, the record.

    The JSON may have characters that are not ASCII or not printable (DEL).
    """
    for chunk in iter_row_chunks(db, reader, job_filter, f"seq, {text}"):
        texts = dict(chunk)
        if unusual := [seq for seq, found in chunk if found is None]:
            records = add_live(db, map(rows.job_from_row, read_rows(db, rows.JOB_COLUMNS, unusual)))
            texts |= {record.seq: record for record in records}
        yield from filter(None, texts.values())  # None: deleted meanwhile


def _text(template: str, cells: Mapping[str, str]) -> str:
    """Return the SQL of the text of a job, or of NULL for an unusual one."""
    values = ", ".join(cells[name] for name in JOB_FIELDS)
    return f"CASE WHEN {_UNUSUAL} THEN NULL ELSE printf('{template}', {values}) END"


def _quoted(value: str, prefix: str = "''") -> str:
    """Return the SQL of ``prefix`` and a text, in quotes if CSV needs them."""
    special = " OR ".join(f"instr({value}, {each})" for each in ("','", "'\"'", "char(10)", "char(13)"))
    quoted = f"""'"' || {prefix} || replace({value}, '"', '""') || '"'"""
    return f"CASE WHEN {special} THEN {quoted} ELSE {prefix} || {value} END"


_APOSTROPHE = "''''"


def _harmless(value: str) -> str:
    """Return the SQL of a text that a spreadsheet might take for a formula."""
    formula = f"{value} GLOB '[=+@' || char(9, 13) || '-]*'"
    return f"CASE WHEN {formula} THEN {_quoted(value, prefix=_APOSTROPHE)} ELSE {_quoted(value)} END"


_WHOLE = "CAST(timeout AS INTEGER)"
# SQLite writes at most 15 digits of a number, Python as many as are needed
_PROGRESS, _TIMEOUT = (
    f"CASE WHEN {name} <> round({name}, 3) THEN python_repr({name}) ELSE {number} END"
    for name, number in (("progress", "progress"), ("timeout", f"iif({_WHOLE} = timeout, {_WHOLE}, timeout)"))
)
_JSON_CELLS = (
    {name: f"json_quote({name})" for name in JOB_FIELDS}
    | {name: f"ifnull({name}, 'null')" for name in ("tags", "after", "result", "metrics")}
    | {name: f"""ifnull(strftime('"{_ISO}"', {name}, 'unixepoch'), 'null')""" for name in TIME_FIELDS}
    | {"timeout": f"ifnull({_TIMEOUT}, 'null')", "progress": f"ifnull({_PROGRESS}, 'null')"}
)
_CSV_CELLS = (
    {name: name for name in JOB_FIELDS}
    | {name: f"""CASE WHEN instr({name}, ',') THEN '"' || {name} || '"' ELSE {name} END""" for name in _NAMES}
    | {name: _harmless(name) for name in ("command", "cwd", "error", "result_repr")}
    | {name: _quoted(name) for name in ("tags", "after", "metrics")}
    | {name: f"strftime('{_ISO}', {name}, 'unixepoch')" for name in TIME_FIELDS}
    | {
        "timeout": _TIMEOUT,
        "progress": _PROGRESS,
        "result": f"""CASE WHEN result GLOB '"*' THEN {_harmless("substr(result, 2, length(result) - 2)")}
            ELSE {_quoted("nullif(result, 'null')")} END""",
    }
)
JSON_TEXT = _text("{" + ", ".join(f'"{name}": %s' for name in JOB_FIELDS) + "}", _JSON_CELLS)
CSV_TEXT = _text(",".join(["%s"] * len(JOB_FIELDS)), _CSV_CELLS)
