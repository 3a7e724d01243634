"""Writes JSON, JSON lines and CSV. JSON is ASCII, so that it does not depend on the locale."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from queuectl_nb.render.text_table import visible

__all__ = ["write_csv", "write_data", "write_json", "write_jsonl"]

FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would evaluate a text that starts with one of these."""


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
        out.write(json.dumps(value, indent=2) + "\n")
        return
    first = True
    for element in value:
        out.write(("[\n " if first else ",\n ") + json.dumps(element))
        first = False
    out.write("[]\n" if first else "\n]\n")


def write_jsonl(out: TextIO, value: Any) -> None:
    """Write each element of an iterable, or any other value, on one line."""
    elements = [value] if isinstance(value, dict | str | int | float | None) else value
    out.writelines(json.dumps(element) + "\n" for element in elements)


def write_csv(out: TextIO, fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with a header; nested values become JSON, and a quote disarms formulas.

    A terminal gets hidden characters as escapes; a file or pipe gets texts unchanged.
    """
    to_text = visible if out.isatty() else str
    # csv quotes fields that contain a character of lineterminator: this way also a bare CR
    writer = csv.writer(_UnixLines(out), lineterminator="\r\n")
    writer.writerow(fields)
    writer.writerows([_csv_value(row.get(key), to_text) for key in fields] for row in rows)


class _UnixLines:
    """Replaces the line ends of the csv module by newlines, which shell tools expect."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, line: str) -> None:
        """Write one line."""
        self._out.write(line.removesuffix("\r\n") + "\n")


def _csv_value(value: Any, to_text: Callable[[str], str]) -> Any:
    if isinstance(value, dict | list | tuple | bool):
        return json.dumps(value)
    if isinstance(value, str):
        return to_text("'" + value if value.startswith(FORMULA_PREFIXES) else value)
    return value
