"""JSON Schemas of all ``--json`` output, and of the input of ``enqueue``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from docs.generate.shapes import EVENTS, JOB, SHAPES, TIME, Field, closed

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["files", "schemas"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
OPTIONAL = {"spec": ["command"]}
"""Required fields of shapes in which not all are."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas by file name."""
    found = {}
    for name, (fields, title, _) in SHAPES.items():
        schema = _object(fields)
        if name in OPTIONAL:
            schema["required"] = OPTIONAL[name]
        found[f"{name}.schema.json"] = _headed(name, title, schema)
    history = {"type": "array", "items": {"$ref": "attempt.schema.json"}}
    shown = _object(JOB)
    shown["properties"]["history"] = history | {"description": "all attempts, oldest first"}
    shown["required"].append("history")
    pairs = {"type": "object", "additionalProperties": {"type": "array", "minItems": 2, "maxItems": 2}}
    changes = _object([Field("at", TIME, "time of the edit"), Field("changes", pairs, "old and new value by field")])
    shown["properties"]["after_any"] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "the jobs in after of which any end will do; absent if there are none",
    }
    shown["properties"]["edits"] = {
        "type": "array",
        "items": changes,
        "description": "what 'queuectl edit' has changed, oldest first; absent if nothing was edited",
    }
    found["job-with-history.schema.json"] = _headed("job-with-history", "Job with its attempts", shown)
    kinds = [_object(extra, description=meaning, event={"const": name}) for name, (meaning, extra) in EVENTS.items()]
    found["event.schema.json"] = _headed("event", "Event", {"oneOf": kinds})
    return found


def files() -> dict[str, str]:
    """Return the schemas as files."""
    return {name: json.dumps(schema, indent=2) + "\n" for name, schema in schemas().items()}


def _headed(name: str, title: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": DIALECT, "$id": f"{name}.schema.json", "title": title, **schema}


def _object(fields: Iterable[Field], description: str | None = None, **first: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with exactly these fields."""
    properties = {field.name: {**field.schema, "description": field.meaning.replace("`", "")} for field in fields}
    head = {} if description is None else {"description": description}
    return {**head, **closed({**first, **properties})}
