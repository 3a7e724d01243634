"""Type and meaning of every field that has a JSON shape: tables and JSON Schemas are made of it.

A row is a field's name, its JSON Schema and its meaning. That the names are those of the code is held by a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.state import State
from queuectl_nb.render.json_shapes import WORKER_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ATTEMPT", "EVENTS", "JOB", "SHAPES", "SPEC", "STATS", "STATUS", "WORKER", "Field", "closed"]


class Field(NamedTuple):
    """One field of a JSON object."""

    name: str
    schema: dict[str, Any]
    meaning: str


NAME = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:=,@+-]*$", "maxLength": 128}
TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
COUNT = {"type": "integer", "minimum": 0}
SECONDS = {"type": "number", "minimum": 0}
TIME = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
NAMES = {"type": "array", "items": NAME}
STATE = {"enum": [str(state) for state in State]}


def closed(properties: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of an object that has just these properties, each of them."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def null_or(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that may be unknown."""
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


COUNTS = closed({str(state): COUNT for state in State})
QUANTILES = closed({"p50": null_or(SECONDS), "p95": null_or(SECONDS)})

JOB = (
    Field("id", NAME, "its name"),
    Field("command", TEXT, "what `/bin/sh -c` runs"),
    Field("state", STATE, "where it stands"),
    Field("priority", WHOLE, "higher runs first"),
    Field("attempts", COUNT, "attempts used of the present budget, a running one included"),
    Field("max_retries", null_or({**WHOLE, "minimum": 1}), "attempts in all; null follows the setting"),
    Field("timeout", null_or(SECONDS), "seconds an attempt may run, 0 for no limit; null follows the setting"),
    Field("queue", NAME, "the queue that it is in"),
    Field("tags", NAMES, "words to find it by"),
    Field("after", NAMES, "jobs that must complete first"),
    Field("cwd", TEXT, "the directory in which it runs"),
    Field("run_at", null_or(TIME), "it does not start before"),
    Field("created_at", TIME, "when it was enqueued"),
    Field("updated_at", TIME, "when it last changed"),
    Field("started_at", null_or(TIME), "start of its newest attempt"),
    Field("finished_at", null_or(TIME), "end of its newest attempt"),
    Field("exit_code", null_or(WHOLE), "of its newest attempt"),
    Field("error", null_or(TEXT), "why its newest attempt did not succeed, or why it was cancelled"),
    Field("worker", null_or(TEXT), "who ran its newest attempt"),
    Field("result", {}, "the JSON that its attempt wrote to `$QUEUECTL_RESULT`"),
)

ATTEMPT = (
    Field("job_id", NAME, "whose attempt it is"),
    Field("number", {**WHOLE, "minimum": 1}, "counts all attempts of the job, from 1"),
    Field("token", TEXT, "names it among all attempts"),
    Field("worker", TEXT, "who ran it"),
    Field("pid", null_or(WHOLE), "process id of its shell"),
    Field("host", TEXT, "on which machine"),
    Field("started_at", TIME, "when it was started"),
    Field("finished_at", null_or(TIME), "when it ended"),
    Field("outcome", null_or({"enum": [*OUTCOME_NAMES]}), "how it ended; null while it runs"),
    Field("exit_code", null_or(WHOLE), "of its shell; null if a signal ended it"),
    Field("signal", null_or(TEXT), "the signal that ended it, by name (`SIGSEGV`)"),
    Field("error", null_or(TEXT), "why it did not succeed"),
    Field("user_cpu_s", null_or(SECONDS), "CPU seconds of it and its children"),
    Field("system_cpu_s", null_or(SECONDS), "the kernel's CPU seconds for it"),
    Field(
        "max_rss_bytes",
        null_or(COUNT),
        "largest memory of one of its processes, in bytes; on Linux no less than its worker had then, 20 MB",
    ),
    Field("stdout", null_or(TEXT), "what it wrote: head and tail where it is longer than `output_limit`"),
    Field("stderr", null_or(TEXT), "the same of its other stream"),
)

WORKER = (
    Field("name", TEXT, "unique on its queue"),
    Field("pid", null_or(WHOLE), "the process that starts the jobs"),
    Field("host", TEXT, "on which machine"),
    Field("state", {"enum": [*WORKER_STATES]}, "`idle`, `busy`, `stopping` or `lost`"),
    Field("job_id", null_or(NAME), "the job that it holds"),
    Field("started_at", TIME, "since when it runs"),
    Field("jobs_done", COUNT, "attempts that it has ended"),
)

SPEC = (
    Field("id", NAME, "its name; made up when left out"),
    Field("command", TEXT, "what `/bin/sh -c` runs; the only one that is needed"),
    Field("priority", WHOLE, "higher runs first (0)"),
    Field("delay", SECONDS, "it does not start before so many seconds have passed"),
    Field("run_at", TEXT, "or not before this ISO time"),
    Field("timeout", SECONDS, "seconds an attempt may run; 0 for no limit"),
    Field("max_retries", {**WHOLE, "minimum": 1, "maximum": 1000}, "attempts in all"),
    Field("queue", NAME, "the queue it goes to (`default`)"),
    Field("tags", NAMES, "words to find it by"),
    Field("after", NAMES, "jobs that must complete first"),
    Field("cwd", TEXT, "the directory in which it runs (the present one)"),
    Field("env", {"type": "object", "additionalProperties": TEXT}, "variables of its environment"),
)

STATUS = (
    Field("counts", COUNTS, "jobs by state, every state present"),
    Field("paused", {"type": "array", "items": TEXT}, 'paused queues; `["*"]` when everything is paused'),
    Field("workers", {"type": "array", "items": {"$ref": "worker.schema.json"}}, "the workers, as above"),
)

STATS = (
    Field("counts", COUNTS, "jobs by state"),
    Field("attempts", COUNT, "attempts"),
    Field("avg_duration_s", null_or(SECONDS), "mean run of the attempts that succeeded"),
    Field("run_s", QUANTILES, "`p50` and `p95` of how long attempts ran"),
    Field("wait_s", QUANTILES, "`p50` and `p95` of the time from when an attempt was due to its start"),
    Field("attempts_per_job", null_or(SECONDS), "mean"),
    Field("per_minute", null_or(SECONDS), "jobs completed a minute"),
    Field("cpu_s", null_or(SECONDS), "CPU seconds in all"),
    Field("max_rss_bytes", null_or(COUNT), "the largest memory of an attempt, in bytes"),
)

SHAPES = {
    "job": (JOB, "A job", "`list --json`, `enqueue --json`, `job_view`"),
    "attempt": (ATTEMPT, "An attempt", "`history` of `show --json`, `log --json`, `attempt_view`"),
    "worker": (WORKER, "A worker", "`worker list --json`"),
    "status": (STATUS, "The status", "`status --json`"),
    "stats": (STATS, "Metrics", "`stats --json`"),
    "spec": (SPEC, "What a job is enqueued from", "`enqueue '{…}'`, `enqueue --from`"),
}
"""Name of the schema: fields, title, where it is met."""

_WORKER = Field("worker", TEXT, "who tells it")
_JOB = Field("job", NAME, "the job's id")
EVENTS = {
    "pool_ready": (
        "the pool runs, its workers are registered",
        (Field("workers", {"type": "array", "items": TEXT}, "their names"), Field("pid", WHOLE, "the pool's process")),
    ),
    "worker_started": ("a worker's process was started", (_WORKER, Field("pid", WHOLE, "its process"))),
    "connected": ("a dispatcher has reached its dask cluster", (_WORKER,)),
    "started": (
        "an attempt begins",
        (
            _WORKER,
            _JOB,
            Field("attempt", WHOLE, "which of the budget"),
            Field("max_retries", WHOLE, "attempts in all"),
            Field("command", TEXT, "its first 400 characters"),
        ),
    ),
    "finished": (
        "an attempt has ended and is recorded",
        (
            _WORKER,
            _JOB,
            Field("outcome", {"enum": [*OUTCOME_NAMES]}, "how it ended"),
            Field("state", STATE, "where its job stands now"),
            Field("error", null_or(TEXT), "why it did not succeed"),
            Field("stdout", TEXT, "its first 400 bytes"),
            Field("stderr", TEXT, "its first 400 bytes"),
            Field("run_at", null_or(SECONDS), "when the next attempt is due, in epoch seconds"),
            Field("reason", null_or(TEXT), "why the job is dead"),
        ),
    ),
    "rescued": ("a lost worker's job was taken over", (_WORKER, _JOB, Field("was", TEXT, "who had held it"))),
    "worker_died": (
        "a worker died by itself and is replaced",
        (_WORKER, Field("why", TEXT, "exit code or signal"), Field("restart_in", SECONDS, "seconds until then")),
    ),
    "worker_stopped": ("a worker has ended as it was asked to", (_WORKER,)),
    "warning": ("something to worry about", (_WORKER, Field("text", TEXT, "what"))),
    "dropped": ("events were lost, since nobody read them", (Field("count", COUNT, "how many"),)),
    "failed": (
        "the pool could not start",
        (Field("text", TEXT, "why"), Field("exit_code", WHOLE, "of its error (exit codes)")),
    ),
}
"""Event: what it means, and its facts besides ``event``."""
