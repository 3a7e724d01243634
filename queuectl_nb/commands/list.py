"""``list``: list jobs, most recently updated first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client.hints import WAITING_STATES, empty_hints, waiting_hints
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import QUEUE, STATE, Choice, TextParam
from queuectl_nb.commands.results import Listing
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.render.json_shapes import job_json
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.job_lists import LINE_COLUMNS, iter_jobs, iter_row_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.context import Context

__all__ = ["command", "list_jobs"]

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
@click.option(
    "--state", type=STATE, multiple=True, help="Show only jobs in this state; repeatable. See 'queuectl help states'."
)
@click.option("-q", "--queue", type=QUEUE, help="Show only jobs of this queue.")
@click.option("--tag", type=TextParam("TAG"), help="Show only jobs with this tag.")
@click.option(
    "-n", "--limit", type=TextParam("N"), help=f"Maximum number of jobs (default: {DEFAULT_ROWS} in a table)."
)
@click.option(
    "--sort",
    type=Choice("sort field", JOB_FIELDS, "FIELD"),
    help="Sort by this JSON field, ascending; see 'queuectl help fields'.",
)
@click.option("--reverse", is_flag=True, help="Reverse the order.")
def command(context: Context, /, **options: Any) -> Listing:
    """List jobs, most recently updated first."""
    wanted = Filter.from_options(**options)
    limit = DEFAULT_ROWS if wanted.limit is None else None
    store = context.queue().store

    def hints() -> list[str]:
        if wanted.state and not set(WAITING_STATES).intersection(wanted.state):
            return empty_hints(store)
        queues = None if wanted.queue is None else [wanted.queue]
        return waiting_hints(store, queues, program=context.program) or empty_hints(store)

    found = list_jobs(context.queue(), options, COLUMNS, "No jobs.", default_limit=limit)
    return replace(found, hints=hints)


def list_jobs(
    queue: Queue,
    options: dict[str, Any],
    columns: Sequence[tuple[str, str]],
    empty_text: str,
    default_limit: int | None = None,
) -> Listing:
    """Return the jobs that ``options``, those of ``Queue.jobs``, select."""
    wanted = Filter.from_options(**options)

    def rows(limit: int | None) -> Iterator[dict[str, Any]]:
        chosen = wanted if limit is None else replace(wanted, limit=limit)
        return map(job_json, iter_jobs(queue.store.db, queue.store.reader, chosen))

    def texts(output_format: str) -> Iterator[str]:
        from queuectl_nb.render import job_lines

        chunks = iter_row_chunks(queue.store.db, queue.store.reader, wanted, LINE_COLUMNS)
        return (job_lines.csv_lines if output_format == "csv" else job_lines.json_texts)(chunks)

    return Listing(
        JOB_FIELDS,
        columns,
        rows,
        texts=texts,
        value=lambda: queue.jobs(**options),
        count=lambda: queue.store.reader.count(wanted),
        default_limit=default_limit,
        empty_text=empty_text,
    )
