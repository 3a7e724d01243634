"""``artifacts``: list, locate and copy the artifacts of a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client.artifacts import copy_artifact, find_artifacts, open_named, paths_by_name
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import DIRECTORY, Parsed, TextParam, find_ids, job_id_type
from queuectl_nb.commands.results import Listing
from queuectl_nb.model import validation
from queuectl_nb.model.times import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.client.artifacts import JobArtifacts

__all__ = ["artifacts_command"]

FIELDS = ("name", "size", "modified_at", "path", "attempt")


@queuectl_command(
    "artifacts",
    examples=[
        "queuectl artifacts job-1",
        "queuectl artifacts job-1 model.pt",
        "queuectl artifacts job-1 --to results/",
    ],
)
@click.argument("job_id", type=job_id_type())
@click.argument("name", required=False, type=TextParam("NAME"))
@click.option(
    "--attempt",
    type=Parsed("N", validation.parse_int, 1),
    help="Use this attempt instead of the latest that has artifacts.",
)
@click.option("--to", "target", type=DIRECTORY, help="Copy the artifacts into this directory.")
def artifacts_command(
    context: Context, job_id: str, name: str | None, attempt: int | None, target: str | None
) -> Listing | Done:
    """List the artifacts of a job, or print the path of NAME.

    Uses the latest attempt that has artifacts, unless --attempt is given.
    """
    queue = context.queue()
    (job_id,) = find_ids(queue, [job_id])
    found = find_artifacts(queue.store, job_id, attempt)
    notes = [] if found.note is None else [found.note]
    if name is not None:
        with open(open_named(found, name), "rb"):  # raises for an unknown name
            pass
    names = [each.name for each in found.files] if name is None else [name]
    if target is not None:
        return _done([copy_artifact(found, each, Path(target)) for each in names], notes)
    if name is not None:
        return _done([paths_by_name(found)[name]], notes)
    return _listing(
        found, notes, queue_value=lambda: queue.job(job_id).artifacts if attempt is None else paths_by_name(found)
    )


def _done(paths: Sequence[Path], notes: Sequence[str]) -> Done:
    lines = [f"{path}" for path in paths]
    return Done(lines, lambda: lines, lambda: list(paths), notes=lambda: notes)


def _listing(artifacts: JobArtifacts, notes: Sequence[str], queue_value: Any) -> Listing:
    rows = [
        {
            "name": each.name,
            "size": each.size,
            "modified_at": format_time(each.modified_at),
            "path": f"{artifacts.folder}/{each.name}",
            "attempt": artifacts.number,
        }
        for each in artifacts.files
    ]
    return Listing(
        FIELDS,
        (("Name", "name"), ("Bytes", "size"), ("Modified", "modified_at")),
        lambda limit: rows[:limit],
        value=queue_value,
        empty_text=f"Job {artifacts.job_id} has no artifacts.",
        hints=lambda: notes,
    )
