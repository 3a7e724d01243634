"""Writes JSON, JSON lines and CSV. JSON is ASCII, so that it does not depend on the locale."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TextIO

from queuectl_nb.render.text_table import visible

__all__ = ["csv_line", "json_text", "write_csv", "write_data", "write_json", "write_jsonl", "write_texts"]

FORMULA_STARTS = frozenset("=+-@\t\r")
"""A spreadsheet would evaluate a text that starts with one of these."""
BATCH_ROWS = 100
"""Rows written at once: a pipe takes 64 KiB."""
_NESTED = (dict, list, tuple, bool)
_needs_quotes = re.compile('[",\r\n]').search


def json_text(value: Any, **options: Any) -> str:
    """Return a value as JSON; ``options`` are those of ``json.dumps``.

    JSON has no infinities and no NaN, so they become null. SQLite and ``json.loads`` return them for numbers that are
    too large, such as 1e999, which somebody may have written into the file.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_finite(value), **options)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_data(out: TextIO, value: Any, output_format: str, fields: Sequence[str] = ()) -> None:
    """Write a value as ``json``, ``jsonl`` or ``csv``; rows with these ``fields`` are written as they are read."""
    if output_format != "csv":
        (write_json if output_format == "json" else write_jsonl)(out, value)
    elif fields:
        write_csv(out, fields, value)
    else:
        elements = value if isinstance(value, list) else [value]
        rows = [each if isinstance(each, dict) else {"value": each} for each in elements]
        write_csv(out, list(rows[0]) if rows else ["id"], rows)


def write_json(out: TextIO, value: Any) -> None:
    """Write a value as JSON; an iterable as an array with one element per line, while it is consumed."""
    if isinstance(value, dict | str | int | float | None):
        out.write(json_text(value, indent=2) + "\n")
        return
    write_texts(out, (), map(json_text, value), "json")


def write_jsonl(out: TextIO, value: Any) -> None:
    """Write each element of an iterable, or any other value, on one line."""
    elements = [value] if isinstance(value, dict | str | int | float | None) else value
    write_texts(out, (), map(json_text, elements), "jsonl")


def write_csv(out: TextIO, fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with a header; nested values become JSON, and a quote disarms formulas.

    A terminal gets hidden characters as escapes; a file or pipe gets texts unchanged. Lines end with a newline, which
    shell tools expect.
    """
    escape = visible if out.isatty() else None
    lines = (csv_line(map(row.get, fields), escape) or '""' for row in rows)
    write_texts(out, fields, lines, "csv")


def write_texts(out: TextIO, fields: Sequence[str], texts: Iterable[str], output_format: str) -> None:
    """Write elements that are JSON, or lines of ``csv``, while they are consumed."""
    if output_format == "json":
        rest = iter(texts)
        first = next(rest, None)
        out.write("[]\n" if first is None else "[\n " + first)
        while batch := list(islice(rest, BATCH_ROWS)):
            out.write(",\n " + ",\n ".join(batch))
        out.write("" if first is None else "\n]\n")
        return
    if output_format == "csv":
        out.write(",".join(fields) + "\n")
    rest = iter(texts)
    while batch := list(islice(rest, BATCH_ROWS)):
        out.write("\n".join(batch) + "\n")


def csv_line(values: Iterable[Any], escape: Callable[[str], str] | None = None) -> str:
    """Return a line of CSV; ``escape`` is applied to texts."""
    return ",".join([_csv_cell(value, escape) for value in values])


def _csv_cell(value: Any, escape: Callable[[str], str] | None) -> str:
    if isinstance(value, str):
        text = "'" + value if value[:1] in FORMULA_STARTS else value
        text = text if escape is None else escape(text)
    elif value is None:
        return ""
    elif isinstance(value, _NESTED):
        text = json_text(value)
    else:
        return str(value)
    return '"' + text.replace('"', '""') + '"' if _needs_quotes(text) else text
