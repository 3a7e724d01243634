"""Tables of all JSON fields and of the events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docs.generate.shapes import EVENTS, SHAPES
from queuectl_nb.model.outcome import OUTCOME_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docs.generate.shapes import Field

__all__ = ["event_sections", "sections", "table"]

OUTCOMES = {
    "succeeded": "exit code 0",
    "failed": "nonzero exit code, or killed by a signal",
    "timed_out": "it exceeded its timeout and was ended",
    "lost": "the worker died or froze, or the queue was copied during the attempt",
    "cancelled": "the job was cancelled",
    "returned": "the worker was stopped, or lost its supervisor, and returned the job; does not use up an attempt",
    "not_started": "the command could not be started",
}


def sections() -> str:
    """Return a section per shape, and one for the outcomes."""
    parts = [f"## {title}\n\nUsed by {where}.\n\n{table(fields)}" for fields, title, where in SHAPES.values()]
    rows = ["| outcome | meaning |", "| --- | --- |", *(f"| `{name}` | {OUTCOMES[name]} |" for name in OUTCOME_NAMES)]
    return "\n\n".join([*parts, "## Outcomes\n\n" + "\n".join(rows)])


def event_sections() -> str:
    """Return a table of all events with their fields."""
    rows = ["| event | meaning | fields |", "| --- | --- | --- |"]
    for name, (meaning, extra) in EVENTS.items():
        columns = "; ".join(f"`{field.name}`: {field.meaning}" for field in extra)
        rows.append(f"| `{name}` | {meaning} | {columns} |")
    return "\n".join(rows)


def table(fields: Iterable[Field]) -> str:
    """Return a table of fields."""
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    rows += [f"| `{field.name}` | {_kind(field.schema)} | {field.meaning} |" for field in fields]
    return "\n".join(rows)


def _kind(schema: dict[str, Any]) -> str:
    """Return the name of a type."""
    if not schema:
        return "any JSON"
    if "enum" in schema:
        return "string or null" if None in schema["enum"] else "string"
    kind = schema["type"]
    text = kind if isinstance(kind, str) else " or ".join(kind)
    return text.replace("string", "time") if schema.get("format") == "date-time" else text
