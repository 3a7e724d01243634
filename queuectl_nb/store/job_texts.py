"""Jobs as JSON objects and as lines of CSV, put together by SQLite.

Handing over values one by one takes most of the time of a long list. For jobs with unusual values, of which SQLite
might write another text than Python, the record is returned instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.job import JOB_FIELDS, TIME_FIELDS
from queuectl_nb.model.times import MAX_TIME
from queuectl_nb.store import rows
from queuectl_nb.store.job_lists import iter_row_chunks, read_rows
from queuectl_nb.store.metrics import add_live

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.reader import Reader

__all__ = ["CSV_TEXT", "JSON_TEXT", "iter_job_texts"]

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
