"""``show``: show one job with all fields and attempts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from queuectl_nb.client.hints import CONSOLE, job_hints
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.params import find_ids, job_id_type
from queuectl_nb.commands.results import Detail, Table
from queuectl_nb.model.call import Kind
from queuectl_nb.model.displayed_command import displayed_command
from queuectl_nb.render.json_shapes import attempt_json, dependency_texts, extra_json, job_json, json_number
from queuectl_nb.render.progress import format_size
from queuectl_nb.render.text_table import local_time, zone_name
from queuectl_nb.store.spool import STREAMS

__all__ = ["show_command"]

MAX_OUTPUT_CHARS = 200
"""Maximum length of a stream that is shown; longer ones are shown by ``log``."""


@queuectl_command("show")
@click.argument("job_id", type=job_id_type())
def show_command(context: Context, job_id: str) -> Detail:
    """Show all fields and attempts of a job."""
    queue = context.queue()
    (job_id,) = find_ids(queue, [job_id])
    found = queue.job(job_id)
    job = job_json(found.record)
    history = [attempt_json(attempt) for attempt in found.history]
    any_end = queue.store.reader.any_end_of(found.record)
    extra = extra_json(any_end, found.edits)

    def blocks() -> Iterator[str | Table]:
        yield f"Job: {job_id} (times: {zone_name()})"
        facts = {**job, "shell": found.record.shell}
        facts["after"] = dependency_texts(job["after"], any_end)
        for key in ("timeout", "max_retries"):
            if facts[key] is None:
                facts[key] = f"{getattr(queue.settings, key):g} (from the setting)"
        yield Table((), _rows({key: value for key, value in facts.items() if key != "id"}))
        for edit in extra.get("edits", ()):
            yield f"\nEdited {local_time(edit['at'])}:"
            yield Table((), [(key, _format_change(key, *change)) for key, change in edit["changes"].items()])
        for attempt in history:
            yield f"\nAttempt {attempt['number']}:"
            yield Table((), _rows(_attempt_fields(attempt)))

    return Detail(
        blocks,
        data=lambda: {**job, "history": history, **extra},
        value=lambda: found,
        records=lambda: [job],
        hints=lambda: job_hints(queue.store, found.record, CONSOLE) if context.program == CONSOLE else (),
    )


def _attempt_fields(attempt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an attempt for a table; a long stream is replaced by its size."""
    facts = {key: value for key, value in attempt.items() if key not in ("job_id", "number")}
    for stream in STREAMS:
        text = attempt[stream]
        if text is not None and len(text) > MAX_OUTPUT_CHARS:
            how = f"'queuectl log {attempt['job_id']} --attempt {attempt['number']} --{stream}' shows it"
            facts[stream] = f"{format_size(len(text.encode()))}; {how}"
    return facts


def _rows(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the fields that have a value, with their text."""
    shown = {key: value for key, value in fields.items() if value is not None}
    if shown.get("kind") == Kind.COMMAND:
        del shown["kind"]
    if shown.get("kind") == Kind.FUNCTION:
        shown = {"call" if key == "command" else key: value for key, value in shown.items()}
    return [
        (key, _format_value(key, value)) for key, value in shown.items() if key == "result" or value not in ("", [])
    ]


def _format_change(key: str, old: Any, new: Any) -> str:
    """Return the old and the new value of an edited field."""
    shown = ["-" if value in (None, "", []) else str(_format_value(key, value)) for value in (old, new)]
    return " -> ".join(shown)


def _format_value(key: str, value: Any) -> Any:
    """Return a field as text for a table."""
    if key == "command":
        return displayed_command(value)
    if key.endswith("_at"):
        return local_time(value)
    if key == "max_rss_bytes":
        return f"{value} ({format_size(value)})"
    if key == "metrics":
        return ", ".join(f"{name}={number}" for name, number in value.items())
    if isinstance(value, dict | list):
        from queuectl_nb.render.formats import json_text

        return json_text(value) if key == "result" else ", ".join(value)
    return json_number(value) if key == "timeout" else value
