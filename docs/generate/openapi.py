"""The OpenAPI 3.1 description of the web API. Bodies use the same definitions as the JSON Schemas."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from docs.generate.schemas import schemas
from docs.generate.shapes import COUNT, NAME, SECONDS, STATE, TEXT, TIME, WHOLE, array, closed
from queuectl_nb import __version__
from queuectl_nb.model.displayed_command import MAX_LISTED_CHARS
from queuectl_nb.model.error_groups import REASONS
from queuectl_nb.store.spool import STREAMS
from queuectl_nb.web.file_handlers import MAX_LISTED
from queuectl_nb.web.query_params import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["file", "openapi", "table"]

SHAPES = ("job", "attempt", "worker", "status", "stats", "job-with-history")
FLAG = {"type": "boolean"}
NUMBER = {"type": "number"}
FRACTION = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
NULLABLE_TEXT = {"type": ["string", "null"]}
COUNTS = array(COUNT)
SERIES = {
    "succeeded": {**COUNTS, "description": "successful attempts per bar"},
    "failed": {**COUNTS, "description": "failed and timed out attempts per bar; in throughput lost ones, too"},
}
DISPLAY = {
    **TEXT,
    "description": "with `short=yes` or `output=no`: the command as it was written: the source of a Python cell",
}
VALUES = array(NUMBER, "with `short=yes`: some values of the first metric, once the attempt has ended")


def objects(description: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a list of objects with these fields."""
    return array(closed(fields), description)


def reference(name: str, field: str = "") -> dict[str, Any]:
    """Return a reference to a schema, or to a field of it."""
    return {"$ref": f"{name}.schema.json{field and '#/properties/'}{field}"}


OWN_FIELDS: Mapping[str, dict[str, Any]] = {
    "jobs-page": {
        "jobs": array(reference("job"), "last updated first"),
        "next": {**NULLABLE_TEXT, "description": "value of after for the next page; null on the last page"},
    },
    "errors": {
        "errors": objects(
            "the largest groups first",
            key={**TEXT, "description": "selects the jobs of the group"},
            count=COUNT,
            reason={"enum": list(REASONS)},
            message={**TEXT, "description": "the error of the example"},
            first_at=TIME,
            last_at=TIME,
            example={**TEXT, "description": "the id of the job that failed last"},
        ),
        "more": {**FLAG, "description": "whether there are more groups"},
    },
    "log-piece": {
        "text": {**TEXT, "description": "text from the offset on; invalid UTF-8 becomes U+FFFD"},
        "offset": {**COUNT, "description": "byte offset of the next piece"},
        "end": {**FLAG, "description": "true once the attempt has ended and all its output was returned"},
    },
    "artifacts": {
        "attempt": {"type": ["integer", "null"], "description": "number of the attempt; null if none has any"},
        "artifacts": array(closed({"name": TEXT, "size": COUNT, "modified_at": TIME}), f"at most {MAX_LISTED}"),
        "total": {**COUNT, "description": "number of artifacts"},
        "note": {**NULLABLE_TEXT, "description": "what was not kept, and why"},
    },
    "job-metrics": {
        "progress": {**FRACTION, "description": "from 0 to 1"},
        "series": objects(
            "the numbers that the latest attempt has reported",
            name=TEXT,
            last={"type": ["number", "null"], "description": "the last value"},
            values=array(NUMBER, "some of the values"),
        ),
    },
    "outputs": {
        "outputs": objects(
            "what the latest attempt of a cell has displayed; empty for other kinds",
            text={**NULLABLE_TEXT, "description": "its form as text"},
            png={**NULLABLE_TEXT, "description": "the image as base64, if it is a PNG"},
        )
    },
    "running": {
        "jobs": {
            "type": "object",
            "additionalProperties": closed(
                {"progress": FRACTION, "metrics": {"type": "object"}, "values": array(NUMBER)}
            ),
            "description": "progress, last metrics and some values of the first metric of running jobs, by id",
        }
    },
    "overview": {
        "version": {**COUNTS, "minItems": 2, "maxItems": 2, "description": "changes with every write"},
        "path": {**TEXT, "description": "the file of the queue"},
        "at": {**SECONDS, "description": "time of the overview, in epoch seconds"},
        "counts": reference("status", "counts"),
        "paused": reference("status", "paused"),
        "workers": reference("status", "workers"),
        "eta_s": reference("status", "eta_s"),
        "eta": {**TEXT, "description": "the estimated time left as one line; empty if nothing is left"},
        "limits": array(
            closed({"queue": NAME, "limit": WHOLE, "running": COUNT}),
            "how many jobs of a queue may run at a time, and how many are running",
        ),
        "hints": array(TEXT, "why jobs wait although they could start"),
        "throughput": closed(
            {
                "start": {**SECONDS, "description": "start of the first interval, in epoch seconds"},
                "slice_s": {**SECONDS, "description": "length of an interval in seconds"},
                **SERIES,
                "stopped": {**COUNTS, "description": "attempts that were cancelled or returned to the queue"},
            }
        ),
    },
    "charts": {
        "throughput": {
            "anyOf": [reference("overview", "throughput"), {"type": "null"}],
            "description": "since the first attempt; null without finished attempts",
        },
        "run_time": {
            **closed(
                {
                    "edges": array(SECONDS, "limits of the bars in seconds"),
                    "ticks": objects("labels of the axis", position={**FRACTION, "type": "number"}, label=TEXT),
                    **SERIES,
                }
            ),
            "type": ["object", "null"],
            "description": "attempts by run time; null without any that ran to an end",
        },
    },
    "error": {"error": {**TEXT, "description": "one line that names the problem and the valid values"}},
}
"""The fields of bodies that the console does not have."""
ARTIFACT_NAME = {"name": "name", "in": "path", "required": True, "schema": TEXT}
JOB_ID = {"name": "job_id", "in": "path", "required": True, "schema": NAME}
ARTIFACT_ATTEMPT = ({**WHOLE, "minimum": 1}, "number of the attempt (default: the latest that has any)")
LIMIT = {**WHOLE, "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE}
SELECTION: Mapping[str, tuple[dict[str, Any], str]] = {
    "state": (array(STATE), "only jobs in this state; repeatable"),
    "queue": (NAME, "only jobs in this queue"),
    "tag": (TEXT, "only jobs with this tag"),
    "error": (TEXT, "only jobs that failed for the reason with this key of `/api/errors`"),
    "search": (TEXT, "only jobs with this text in their id or command, ignoring case"),
    "q": (TEXT, "short for `search`"),
}
QUERY: Mapping[str, Mapping[str, tuple[dict[str, Any], str]]] = {
    "/api/errors": {**SELECTION, "limit": (LIMIT, "number of groups")},
    "/api/jobs": {
        **SELECTION,
        "limit": (LIMIT, "jobs per page"),
        "after": (TEXT, "`next` of the previous page"),
        "short": (
            {"enum": ["yes", "no"], "default": "no"},
            f"`yes`: `command` ends after {MAX_LISTED_CHARS} characters, `after` is empty, `result` null; more fields",
        ),
    },
    "/api/jobs/{job_id}": {
        "output": ({"enum": ["yes", "no"], "default": "yes"}, "whether to include the output of the attempts"),
    },
    "/api/jobs/{job_id}/artifacts": {"attempt": ARTIFACT_ATTEMPT},
    "/api/jobs/{job_id}/artifacts/{name}": {"attempt": ARTIFACT_ATTEMPT},
    "/api/jobs/{job_id}/log": {
        "stream": ({"enum": list(STREAMS), "default": STREAMS[0]}, "stream to read"),
        "attempt": ({**WHOLE, "minimum": 1}, "number of the attempt (default: the latest)"),
        "offset": ({**COUNT, "default": 0}, "byte offset to start at"),
    },
}
BODIES: Mapping[str, tuple[str, str | dict[str, Any]]] = {
    "/api/status": ("Job counts, paused queues and workers", "status"),
    "/api/jobs": ("One page of jobs", "jobs-page"),
    "/api/errors": ("Why jobs failed, by reason", "errors"),
    "/api/jobs/{job_id}": ("A job and its attempts", "job-with-history"),
    "/api/jobs/{job_id}/log": ("Output of an attempt, in pieces", "log-piece"),
    "/api/jobs/{job_id}/outputs": ("What a cell has displayed, as text and PNG", "outputs"),
    "/api/jobs/{job_id}/artifacts": ("The artifacts of an attempt", "artifacts"),
    "/api/jobs/{job_id}/artifacts/{name}": ("One of these files, as a download", {**TEXT, "format": "binary"}),
    "/api/jobs/{job_id}/metrics": ("Progress and metrics of the latest attempt", "job-metrics"),
    "/api/running": ("Progress and metrics of all running jobs", "running"),
    "/api/stats": ("Statistics over all attempts", "stats"),
    "/api/charts": ("Throughput over time and run times of all attempts", "charts"),
    "/api/workers": ("All workers", array(reference("worker"))),
    "/api/overview": ("Counts, workers and recent throughput", "overview"),
    "/api/events": ("Server-sent events: 'overview' at once and after each change, 'heartbeat', 'trouble'", TEXT),
    "/api/openapi.json": ("OpenAPI 3.1 description of this API", {"type": "object"}),
    "/metrics": ("Metrics for Prometheus", TEXT),
}
"""Path: summary, and schema of the body or its name."""
MEDIA_TYPES = {
    "/api/jobs/{job_id}/artifacts/{name}": "application/octet-stream",
    "/api/events": "text/event-stream",
    "/metrics": "text/plain",
}
"""Of the bodies that are not JSON."""
ERRORS = {
    "400": "unknown or invalid query parameter",
    "403": "not authenticated, or foreign Host or Origin",
    "404": "no such job, attempt or artifact",
    "503": "the queue cannot be read, or too many clients follow the event feed",
}


def openapi() -> dict[str, Any]:
    """Return the OpenAPI description."""
    known = {name.removesuffix(".schema.json"): schema for name, schema in schemas().items()}
    shapes = {name: known[name] for name in SHAPES} | {name: closed(fields) for name, fields in OWN_FIELDS.items()}
    for name in ("job", "job-with-history"):
        own = {"display": DISPLAY} | ({"values": VALUES} if name == "job" else {})
        shapes[name] = {**shapes[name], "properties": shapes[name]["properties"] | own}
    for name, schema in shapes.items():
        shapes[name] = {key: value for key, value in schema.items() if key not in ("$id", "$schema")}
    description: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "queuectl",
            "version": __version__,
            "description": "Read-only. Bodies have the shape of the console's --json.",
        },
        "servers": [{"url": "..", "description": "address of the page"}],
        "security": [{"bearer": []}, {"cookie": []}, {"token": []}],
        "paths": {path: {"get": _operation(path)} for path in BODIES},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "queuectl-PORT"},
                "token": {"type": "apiKey", "in": "query", "name": "token"},
            },
            "responses": {
                code: {"description": text, "content": {"application/json": {"schema": reference("error")}}}
                for code, text in ERRORS.items()
            },
            "schemas": shapes,
        },
    }
    return _localize_references(description)  # type: ignore[no-any-return]


def _operation(path: str) -> dict[str, Any]:
    summary, body = BODIES[path]
    kind, schema = MEDIA_TYPES.get(path, "application/json"), reference(body) if isinstance(body, str) else body
    parameters: list[dict[str, Any]] = [JOB_ID] if "{job_id}" in path else []
    parameters += [ARTIFACT_NAME] if "{name}" in path else []
    query = QUERY.get(path, {}).items()
    parameters += [{"name": name, "in": "query", "description": text, "schema": shape} for name, (shape, text) in query]
    responses: dict[str, Any] = {"200": {"description": summary, "content": {kind: {"schema": schema}}}}
    if path.endswith("/log"):
        size = {"description": "current size of the stream in bytes", "schema": COUNT}
        responses["200"]["headers"] = {"Log-Size": size}
    if kind == "application/json":
        responses["304"] = {"description": "not modified since the version named by If-None-Match"}
    codes = set(ERRORS) if "{job_id}" in path else set(ERRORS) - {"404"}
    responses |= {code: {"$ref": f"#/components/responses/{code}"} for code in sorted(codes)}
    operation = {"summary": summary, "operationId": _operation_id(path), "responses": responses}
    return operation | ({"parameters": parameters} if parameters else {})


def _operation_id(path: str) -> str:
    name = path.removeprefix("/api").replace("{job_id}", "one").replace("{name}", "one")
    return name.replace(".", "_").strip("/").replace("/", "_")


def _localize_references(value: Any) -> Any:
    """Return the value with references to schema files replaced by references into this document."""
    if isinstance(value, dict):
        return {
            key: _local_reference(each) if key == "$ref" else _localize_references(each) for key, each in value.items()
        }
    return [_localize_references(each) for each in value] if isinstance(value, list) else value


def _local_reference(target: str) -> str:
    name, _, inner = target.partition(".schema.json")
    return f"#/components/schemas/{name}{inner.removeprefix('#')}" if name[0] != "#" else target


def file() -> str:
    """Return the description as JSON text."""
    return json.dumps(openapi(), indent=1) + "\n"


def table() -> str:
    """Return a table of the addresses with their parameters."""
    rows = ["| address | content | parameters |", "| --- | --- | --- |"]
    for path, (summary, _) in BODIES.items():
        parameters = "; ".join(f"`{name}`: {meaning}" for name, (_, meaning) in QUERY.get(path, {}).items())
        response = re.sub(r"'(\w+)'", r"`\1`", summary)
        rows.append(f"| `{path}` | {response} | {parameters} |")
    return "\n".join(rows)
