"""``list``: list jobs, most recently updated first."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client.hints import empty_hints, waiting_hints
from queuectl_nb.client.selection import make_filter
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import Choice, TextParam
from queuectl_nb.commands.results import Listing
from queuectl_nb.commands.selection import NO_MATCH, choose, selection_options
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.state import WAITING_STATES
from queuectl_nb.render.formats import csv_line, json_text
from queuectl_nb.render.json_shapes import job_json
from queuectl_nb.store.job_lists import iter_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.context import Context
    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.store import Store

__all__ = ["job_texts", "list_command", "list_jobs"]

_unprintable = re.compile(r"[^ -~]")
DEFAULT_ROWS = 50
"""Rows of a table without ``--limit``."""
COLUMNS = (
    ("ID", "id"),
    ("State", "state"),
    ("Attempts", "attempts"),
    ("Command", "command"),
    ("Updated At", "updated_at"),
    ("Due At", "run_at"),
    ("Error", "error"),
)
"""The last two are only shown if a job is delayed or has an error."""


@queuectl_command("list", examples=["queuectl list --state dead", "queuectl list --tag sweep --sort priority --json"])
@selection_options()
@click.option(
    "-n", "--limit", type=TextParam("N"), help=f"Maximum number of jobs (default: {DEFAULT_ROWS} in a table)."
)
@click.option(
    "--sort",
    type=Choice("sort field", JOB_FIELDS, "FIELD"),
    help="Sort by this JSON field, ascending; see 'queuectl help fields'.",
)
@click.option("--reverse", is_flag=True, help="Reverse the order.")
def list_command(context: Context, ids: Sequence[str], **options: Any) -> Listing:
    """List jobs, most recently updated first."""
    order = {name: options.pop(name) for name in ("sort", "reverse", "limit")}
    queue = context.queue()
    chosen = choose(queue, ids, options)
    for job_id in chosen.ids:
        queue.store.jobs.get(job_id)  # raise NotFound
    job_filter = replace(make_filter(chosen.selection, **order), ids=tuple(chosen.ids) or None)
    limit = DEFAULT_ROWS if job_filter.limit is None else None
    store = queue.store

    def hints() -> list[str]:
        if job_filter.state and WAITING_STATES.isdisjoint(job_filter.state):
            return empty_hints(store)
        queues = None if job_filter.queue is None else [job_filter.queue]
        return waiting_hints(store, queues, program=context.program) or empty_hints(store)

    empty_text = NO_MATCH if any(chosen) else "No jobs."
    found = list_jobs(queue, job_filter, COLUMNS, empty_text, default_limit=limit)
    return replace(found, hints=hints)


def list_jobs(
    queue: Queue,
    job_filter: Filter,
    columns: Sequence[tuple[str, str]],
    empty_text: str,
    default_limit: int | None = None,
) -> Listing:
    """Return the jobs of a filter."""

    def frame() -> pd.DataFrame:
        from queuectl_nb.render.frames import frames

        return frames.jobs(queue.store.reader, job_filter)

    def rows(limit: int | None) -> Iterator[dict[str, Any]]:
        chosen = job_filter if limit is None else replace(job_filter, limit=limit)
        return map(job_json, iter_jobs(queue.store.db, queue.store.reader, chosen))

    return Listing(
        JOB_FIELDS,
        columns,
        rows,
        texts=lambda output_format: job_texts(queue.store, job_filter, output_format),
        value=frame,
        count=lambda: queue.store.reader.count(job_filter),
        default_limit=default_limit,
        empty_text=empty_text,
    )


def job_texts(store: Store, job_filter: Filter, output_format: str) -> Iterator[str]:
    """Yield each job as JSON or a line of CSV: the same text as one by one, but of a million jobs in seconds."""
    from queuectl_nb.store.bulk_export import CSV_TEXT, JSON_TEXT, iter_job_texts

    is_csv = output_format == "csv"
    for found in iter_job_texts(store.db, store.reader, job_filter, CSV_TEXT if is_csv else JSON_TEXT):
        if not isinstance(found, str):
            yield csv_line(job_json(found).values()) if is_csv else json_text(job_json(found))
        elif is_csv or (found.isascii() and "\x7f" not in found):
            yield found
        else:
            yield _unprintable.sub(lambda match: json.dumps(match[0])[1:-1], found)
