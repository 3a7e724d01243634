"""``show``: one job with every field and every attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import JOB
from queuectl_nb.commands.results import Detail, Table
from queuectl_nb.render.json_shapes import attempt_json, job_json
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuectl_nb.commands.context import Context

__all__ = ["command"]

MAX_OUTPUT_CHARS = 200
"""Characters of a stream that are shown here; longer ones are left to ``log``."""


@queuectl_command("show")
@click.argument("job_id", metavar="ID", type=JOB)
@click.pass_obj
def command(session: Context, job_id: str) -> Detail:
    """Show every field of a job, and every attempt."""
    queue = session.queue()
    found = queue.job(job_id)
    job = job_json(found.record)
    history = [attempt_json(attempt) for attempt in found.history]

    def blocks() -> Iterator[str | Table]:
        yield f"Job: {job_id}"
        yield Table((), [(key, _format_value(key, value)) for key, value in job.items() if key != "id"])
        for attempt in history:
            yield f"\nAttempt {attempt['number']}:"
            yield Table((), [(key, _format_value(key, value)) for key, value in _attempt_fields(attempt).items()])

    return Detail(
        blocks,
        data=lambda: {**job, "history": history},
        value=lambda: found,
        records=lambda: [job],
    )


def _attempt_fields(attempt: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people read of an attempt: a long stream becomes its size and the way to it."""
    facts = {key: value for key, value in attempt.items() if key not in ("job_id", "number")}
    for stream in STREAMS:
        text = attempt[stream]
        if text is not None and len(text) > MAX_OUTPUT_CHARS:
            import humanize

            size = humanize.naturalsize(len(text.encode()), binary=True)
            facts[stream] = (
                f"{size}; 'queuectl log {attempt['job_id']} --attempt {attempt['number']} --{stream}' shows it"
            )
    return facts


def _format_value(key: str, value: Any) -> Any:
    """Return a field as people read it."""
    if value is None:
        return {"timeout": "(the setting's)", "max_retries": "(the setting's)"}.get(key, "-")
    if key == "max_rss_bytes":
        import humanize

        return f"{value} ({humanize.naturalsize(value, binary=True)})"
    if isinstance(value, dict | list):
        import json

        return json.dumps(value) if key == "result" else ", ".join(value) or "-"
    return value
