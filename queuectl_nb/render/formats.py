"""Answers as data: JSON, JSON lines and CSV. ASCII throughout, so that no locale can break them."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import TextIO

__all__ = ["iter_records", "write_csv", "write_json", "write_jsonl"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings at which a spreadsheet takes a text for a formula."""


def write_json(out: TextIO, value: Any) -> None:
    """Write a value; of an array one element a line, written as they come."""
    if isinstance(value, dict | str | int | float | None):
        out.write(json.dumps(value, indent=2) + "\n")
        return
    first = True
    for element in value:
        out.write(("[\n " if first else ",\n ") + json.dumps(element))
        first = False
    out.write("[]\n" if first else "\n]\n")


def write_jsonl(out: TextIO, value: Any) -> None:
    """Write a value as JSON lines: an element of an array a line, anything else on one line."""
    elements = [value] if isinstance(value, dict | str | int | float | None) else value
    out.writelines(json.dumps(element) + "\n" for element in elements)


def write_csv(out: TextIO, fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with a header; what is inside a field comes as JSON, and no text can be taken for a formula."""
    # csv quotes a field for what the line ends with: only so is a bare CR in a command quoted too
    writer = csv.writer(_UnixLines(out), lineterminator="\r\n")
    writer.writerow(fields)
    writer.writerows([_field(row.get(key)) for key in fields] for row in rows)


class _UnixLines:
    """Writes csv's lines with a plain newline, as shell tools expect them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, line: str) -> None:
        """Write one line of the table."""
        self._out.write(line.removesuffix("\r\n") + "\n")


def _field(value: Any) -> Any:
    if isinstance(value, dict | list | tuple | bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "'" + value if value.startswith(FORMULA) else value
    return value


def iter_records(data: Any) -> Iterator[Mapping[str, Any]]:
    """Yield rows for an answer that has no table of its own."""
    for each in data if isinstance(data, list) else [data]:
        yield each if isinstance(each, dict) else {"value": each}
