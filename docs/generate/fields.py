"""Tables of the fields of everything that has a JSON shape, and of the events."""

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
    "failed": "another exit code, or a signal",
    "timed_out": "it ran for longer than its timeout and was ended",
    "lost": "its worker died or froze",
    "cancelled": "a person cancelled it",
    "returned": "its worker was stopped and gave it back; it cost nothing",
    "not_started": "the command could not be started",
}


def sections() -> str:
    """Return a section for each shape, and one for the outcomes."""
    parts = [f"## {title}\n\nIn {where}.\n\n{table(fields)}" for fields, title, where in SHAPES.values()]
    rows = ["| outcome | meaning |", "| --- | --- |", *(f"| `{name}` | {OUTCOMES[name]} |" for name in OUTCOME_NAMES)]
    return "\n\n".join([*parts, "## How an attempt ended\n\n" + "\n".join(rows)])


def event_sections() -> str:
    """Return one table of all events with their facts."""
    rows = ["| event | meaning | facts |", "| --- | --- | --- |"]
    for name, (meaning, facts) in EVENTS.items():
        told = "; ".join(f"`{fact.name}`: {fact.meaning}" for fact in facts)
        rows.append(f"| `{name}` | {meaning} | {told} |")
    return "\n".join(rows)


def table(fields: Iterable[Field]) -> str:
    """Return a table of fields."""
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    rows += [f"| `{field.name}` | {_kind(field.schema)} | {field.meaning} |" for field in fields]
    return "\n".join(rows)


def _kind(schema: dict[str, Any]) -> str:
    """Return a type in a word or two."""
    if not schema:
        return "any JSON"
    if "enum" in schema:
        return "text or null" if None in schema["enum"] else "text"
    kind = schema["type"]
    names = [kind] if isinstance(kind, str) else kind
    words = {"string": "text", "integer": "whole number", "array": "list"}
    told = " or ".join(words.get(name, name) for name in names)
    return told.replace("text", "time") if schema.get("format") == "date-time" else told
