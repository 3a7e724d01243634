"""Jobs as JSON and as lines of CSV: the same text as one by one, but of a million jobs in seconds."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from queuectl_nb.render.formats import csv_line, json_text
from queuectl_nb.render.json_shapes import job_json
from queuectl_nb.store.job_texts import CSV_TEXT, JSON_TEXT, iter_job_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.reader import Reader

__all__ = ["csv_lines", "json_texts"]

_unprintable = re.compile(r"[^ -~]")


def json_texts(db: Database, reader: Reader, job_filter: Filter) -> Iterator[str]:
    """Yield each job of a filter as a JSON object."""
    for found in iter_job_texts(db, reader, job_filter, JSON_TEXT):
        if not isinstance(found, str):
            yield json_text(job_json(found))
        elif found.isascii() and "\x7f" not in found:
            yield found
        else:
            yield _unprintable.sub(lambda match: json.dumps(match[0])[1:-1], found)


def csv_lines(db: Database, reader: Reader, job_filter: Filter) -> Iterator[str]:
    """Yield each job of a filter as a line of CSV."""
    for found in iter_job_texts(db, reader, job_filter, CSV_TEXT):
        yield found if isinstance(found, str) else csv_line(job_json(found).values())
