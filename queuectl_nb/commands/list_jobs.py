"""``list``: list jobs, most recently updated first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import QUEUE, SORT_FIELD, STATE, TAG, TextParam
from queuectl_nb.commands.results import Listing
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.render.json_shapes import job_json
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.job_lists import iter_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.commands.context import Context

__all__ = ["command"]

DEFAULT_ROWS = 50
"""Rows of a table without ``--limit``."""
COLUMNS = (
    ("ID", "id"),
    ("State", "state"),
    ("Attempts", "attempts"),
    ("Command", "command"),
    ("Updated At", "updated_at"),
)


@queuectl_command("list")
@click.option("--state", type=STATE, help="Show only jobs in this state.")
@click.option("--queue", type=QUEUE, help="Show only jobs of this queue.")
@click.option("--tag", type=TAG, help="Show only jobs with this tag.")
@click.option(
    "--limit",
    type=TextParam(),
    metavar="N",
    help=f"Maximum number of jobs (default: {DEFAULT_ROWS} in a table).",
)
@click.option("--sort", type=SORT_FIELD, metavar="FIELD", help="Sort by this JSON field, ascending.")
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> Listing:
    """List jobs, most recently updated first."""
    wanted = Filter.from_options(**options)
    queue = context.queue()

    def rows(limit: int | None) -> Iterator[dict[str, Any]]:
        return map(
            job_json,
            iter_jobs(queue.store.db, queue.store.reader, wanted if limit is None else replace(wanted, limit=limit)),
        )

    return Listing(
        JOB_FIELDS,
        COLUMNS,
        rows,
        value=lambda: queue.jobs(**options),
        count=lambda: queue.store.reader.count(wanted),
        default_limit=DEFAULT_ROWS if wanted.limit is None else None,
        empty_text="No jobs.",
    )
