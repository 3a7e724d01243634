"""Jobs as JSON and as lines of CSV, converted column by column: as one by one, but a million of them in seconds."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.times import format_time
from queuectl_nb.render.formats import csv_cell, json_text
from queuectl_nb.render.json_shapes import TIME_FIELDS, json_number
from queuectl_nb.store.job_lists import LINE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Convert = Callable[[Any], str]
    Chunks = Iterable[Sequence[tuple[Any, ...]]]

__all__ = ["csv_lines", "json_texts"]

CACHED_VALUES = 1024
"""Converted values of a column that are kept: most have few distinct ones."""
CACHED_TIMES = 4096
"""Converted times that are kept: ``run_at`` is often ``created_at``, and ``updated_at`` is ``finished_at``."""
_may_overflow = re.compile(r"[eE]\+?[0-9]{3}|[0-9]{309}").search
"""Finds a number for which a float may be too small; or a text that looks like one."""
_MIN_OVERFLOW_CHARS = len("1e999")


def json_texts(chunks: Chunks) -> Iterator[str]:
    """Yield each job as a JSON object; ``chunks`` are rows of ``LINE_COLUMNS``."""
    labels = [f'"{name}": %s' for name in JOB_FIELDS]
    return _texts(chunks, _json_cell, _json_of_stored, _json_time, row="{%s}", separator=", ", labels=labels)


def csv_lines(chunks: Chunks) -> Iterator[str]:
    """Yield each job as a line of CSV; ``chunks`` are rows of ``LINE_COLUMNS``."""
    return _texts(chunks, csv_cell, _csv_of_stored, _csv_time, row="%s", separator=",", labels=["%s"] * len(JOB_FIELDS))


def _json_cell(value: Any) -> str:
    return "null" if value is None else json_text(value)


def _json_of_stored(text: str | None) -> str:
    """Return JSON as it is stored, if it is ASCII, as all our JSON, and has no number that is too large."""
    if text is None:
        return "null"
    if text.isascii() and (len(text) < _MIN_OVERFLOW_CHARS or not _may_overflow(text)):
        return text
    return json_text(json.loads(text))


def _json_time(stamp: float | None) -> str:
    return "null" if stamp is None else f'"{format_time(stamp)}"'


def _csv_time(stamp: float | None) -> str:
    return format_time(stamp) or ""


def _csv_of_stored(text: str | None) -> str:
    return csv_cell(None if text is None else json.loads(text))


def _texts(  # noqa: PLR0913 - the parts of a format
    chunks: Chunks, cell: Convert, stored: Convert, time: Convert, *, row: str, separator: str, labels: Sequence[str]
) -> Iterator[str]:
    """Convert rows: ``cell`` returns the text of a value, ``stored`` that of one stored as JSON, ``time`` of a time.

    ``row`` and ``labels`` are templates of a row and of its fields.
    """
    cached = lru_cache(CACHED_VALUES, typed=True)  # typed: 1 is not 1.0
    converts: dict[str, Convert] = {
        **dict.fromkeys(JOB_FIELDS, cell),
        **dict.fromkeys(("error", "exit_code", "worker"), cached(cell)),
        **dict.fromkeys(TIME_FIELDS, lru_cache(CACHED_TIMES)(time)),
        **dict.fromkeys(("tags", "after", "result", "metrics"), stored),
        "timeout": cached(lambda value: cell(json_number(value))),
    }
    label = dict(zip(JOB_FIELDS, labels, strict=True))

    def convert_shared(names: Sequence[str]) -> Convert:
        parts = [(label[name], converts[name]) for name in names]
        return cached(
            lambda text: separator.join(
                form % convert(value) for (form, convert), value in zip(parts, json.loads(text), strict=True)
            )
        )

    template = row % separator.join(label[names[0]] if len(names) == 1 else "%s" for names in LINE_FIELDS)
    column_converts = [converts[names[0]] if len(names) == 1 else convert_shared(names) for names in LINE_FIELDS]
    for rows in chunks:
        columns = list(zip(*rows, strict=True))[1:]
        yield from map(template.__mod__, zip(*map(map, column_converts, columns), strict=True))
