"""Names, types and meanings of all JSON fields and events: the source of tables and JSON Schemas.

A test checks that the names are those of the code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.call import KINDS
from queuectl_nb.model.error_groups import REASONS
from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.state import State
from queuectl_nb.render.json_shapes import WORKER_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ATTEMPT", "EVENTS", "JOB", "SHAPES", "SPEC", "STATS", "STATUS", "WORKER", "Field", "array", "closed"]


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
DURATION = {"type": ["number", "string"], "minimum": 0}
TIME = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
STATE = {"enum": [str(state) for state in State]}


def closed(properties: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of an object with exactly these properties, all of them required."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def array(items: Mapping[str, Any], description: str = "") -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def null_or(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that also allows null."""
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


NAMES = array(NAME)
COUNTS = closed({str(state): COUNT for state in State})
QUANTILES = closed({"p50": null_or(SECONDS), "p95": null_or(SECONDS)})

JOB = (
    Field("id", NAME, "unique id of the job"),
    Field("command", TEXT, "run by the shell, by default `/bin/sh -c`"),
    Field("state", STATE, "current state"),
    Field("priority", WHOLE, "higher runs first"),
    Field("attempts", COUNT, "attempts used of the current budget, including a running one"),
    Field("max_retries", null_or({**WHOLE, "minimum": 1}), "total number of attempts; null follows the setting"),
    Field(
        "timeout", null_or(SECONDS), "maximum run time per attempt in seconds, 0: no limit; null follows the setting"
    ),
    Field("queue", NAME, "name of its queue"),
    Field("tags", NAMES, "labels for finding the job"),
    Field("after", NAMES, "ids of jobs that must complete first, or finish (`after_any`)"),
    Field("cwd", TEXT, "working directory"),
    Field("run_at", null_or(TIME), "earliest start"),
    Field("created_at", TIME, "time of the enqueue"),
    Field("updated_at", TIME, "time of the last change"),
    Field("started_at", null_or(TIME), "start of the latest attempt"),
    Field("finished_at", null_or(TIME), "end of the latest attempt"),
    Field("exit_code", null_or(WHOLE), "exit code of the latest attempt"),
    Field("error", null_or(TEXT), "why the latest attempt did not succeed, in one line, or why the job was cancelled"),
    Field("worker", null_or(TEXT), "worker of the latest attempt"),
    Field("result", {}, "JSON value that the job wrote to `$QUEUECTL_RESULT` or its function returned; the notebook"),
    Field("kind", {"enum": [*KINDS]}, "what it runs"),
    Field("key", null_or(TEXT), "names its work; enqueuing that again keeps or retries this job"),
    Field("progress", null_or({"type": "number", "minimum": 0, "maximum": 1}), "progress of the latest attempt"),
    Field("metrics", {"type": ["object", "null"]}, "last value of each number that the latest attempt reported"),
    Field("result_repr", null_or(TEXT), "`repr` of the value that a function returned, at most 1,000 characters"),
)

ATTEMPT = (
    Field("job_id", NAME, "id of the job"),
    Field("number", {**WHOLE, "minimum": 1}, "number of the attempt within the job, from 1"),
    Field("token", TEXT, "unique token of the attempt"),
    Field("worker", TEXT, "name of the worker"),
    Field("pid", null_or(WHOLE), "process id of the shell"),
    Field("host", TEXT, "host on which it ran; on Slurm the node and the job: node7 (SLURM_JOB_ID 4711)"),
    Field("started_at", TIME, "time of the start"),
    Field("finished_at", null_or(TIME), "time of the end"),
    Field("outcome", null_or({"enum": [*OUTCOME_NAMES]}), "how the attempt ended; null while it runs"),
    Field("exit_code", null_or(WHOLE), "exit code of the shell; null if a signal killed it"),
    Field("signal", null_or(TEXT), "name of the signal that killed it, such as `SIGSEGV`"),
    Field("error", null_or(TEXT), "why the attempt did not succeed, in one line"),
    Field("user_cpu_s", null_or(SECONDS), "user CPU time of the command and its children, in seconds"),
    Field("system_cpu_s", null_or(SECONDS), "system CPU time, in seconds"),
    Field(
        "max_rss_bytes",
        null_or(COUNT),
        "peak memory of its largest process, in bytes; on Linux at least that of the worker, 17 to 28 MB",
    ),
    Field("stdout", null_or(TEXT), "standard output; head and tail if it is longer than `output_limit`"),
    Field("stderr", null_or(TEXT), "standard error, likewise"),
    Field("reason", {"enum": [*REASONS, None]}, "why it failed; null if it did not"),
    Field("error_key", null_or(TEXT), "equal for attempts that failed in the same way; see `queuectl errors`"),
)

WORKER = (
    Field("name", TEXT, "unique name of the worker"),
    Field("pid", null_or(WHOLE), "id of the process that starts the jobs"),
    Field("host", TEXT, "host on which it runs"),
    Field("state", {"enum": [*WORKER_STATES]}, "`idle`, `busy`, `stopping` or `lost`"),
    Field("job_id", null_or(NAME), "job that it runs"),
    Field("started_at", TIME, "time of its start"),
    Field("jobs_done", COUNT, "number of attempts it has run"),
)

SPEC = (
    Field("id", NAME, "unique id; generated if omitted"),
    Field("command", TEXT, "run by the shell, by default `/bin/sh -c`; the only required field"),
    Field("priority", WHOLE, "higher runs first (0)"),
    Field("delay", DURATION, 'time to wait before the first start: seconds, or text such as `"1h30m"`'),
    Field("run_at", TEXT, "earliest start: ISO 8601, or `03:00` for the next one, local time; instead of `delay`"),
    Field("timeout", DURATION, 'maximum run time per attempt: seconds, or text such as `"10m"`; 0 for no limit'),
    Field("max_retries", {**WHOLE, "minimum": 1, "maximum": 1000}, "total number of attempts"),
    Field("queue", NAME, "name of the queue (default `default`)"),
    Field("tags", NAMES, "labels for finding the job"),
    Field("after", NAMES, "ids of jobs that must complete first"),
    Field("after_any", NAMES, "ids of jobs that must finish first, however they end"),
    Field("cwd", TEXT, "working directory (default: the current one)"),
    Field("env", {"type": "object", "additionalProperties": TEXT}, "additional environment variables"),
    Field("shell", TEXT, "shell that runs the command, such as `bash -l` (default: the setting)"),
    Field("key", TEXT, "names the work; if a job has this key, it is kept or retried instead"),
)

STATUS = (
    Field("counts", COUNTS, "number of jobs by state, including states without jobs"),
    Field("paused", array(TEXT), 'paused queues; `["*"]` if all are paused'),
    Field("workers", array({"$ref": "worker.schema.json"}), "list of workers"),
    Field(
        "eta_s",
        null_or(closed({name: {"type": "number", "minimum": 0} for name in ("low", "mid", "high")})),
        "estimated seconds until all jobs have finished; null if none is left, or if it is not known",
    ),
)

STATS = (
    Field("counts", COUNTS, "number of jobs by state"),
    Field("attempts", COUNT, "number of attempts"),
    Field("avg_duration_s", null_or(SECONDS), "mean run time of successful attempts"),
    Field("run_s", QUANTILES, "run time of attempts: median (`p50`) and 95th percentile (`p95`)"),
    Field("wait_s", QUANTILES, "time from due to started: median (`p50`) and 95th percentile (`p95`)"),
    Field("attempts_per_job", null_or(SECONDS), "mean number of attempts per job"),
    Field("per_minute", null_or(SECONDS), "completed jobs per minute; times under a minute count as a minute"),
    Field("cpu_s", null_or(SECONDS), "total CPU time in seconds"),
    Field("max_rss_bytes", null_or(COUNT), "largest peak memory of an attempt, in bytes"),
)

SHAPES = {
    "job": (JOB, "Job", "`list --json`, `enqueue --json`, `job_view`"),
    "attempt": (ATTEMPT, "Attempt", "`history` of `show --json`, `log --json`, `attempt_view`"),
    "worker": (WORKER, "Worker", "`worker list --json`"),
    "status": (STATUS, "Status", "`status --json`"),
    "stats": (STATS, "Metrics", "`stats --json`"),
    "spec": (SPEC, "Job specification", "`enqueue '{…}'`, `enqueue --from`"),
}
"""Name of the schema: fields, title, where it is used."""

_WORKER = Field("worker", TEXT, "name of the worker")
_JOB = Field("job", NAME, "id of the job")
EVENTS = {
    "pool_ready": (
        "the pool is running and its workers are registered",
        (
            Field("workers", array(TEXT), "names of the workers"),
            Field("pid", WHOLE, "process id of the supervisor"),
        ),
    ),
    "worker_started": ("a worker process was started", (_WORKER, Field("pid", WHOLE, "its process id"))),
    "connected": ("a dispatcher has connected to its dask cluster", (_WORKER,)),
    "started": (
        "an attempt starts",
        (
            _WORKER,
            _JOB,
            Field("attempt", WHOLE, "number of the attempt within the budget"),
            Field("max_retries", WHOLE, "total number of attempts"),
            Field("command", TEXT, "first 400 characters of the command"),
        ),
    ),
    "finished": (
        "an attempt has ended and is in the database",
        (
            _WORKER,
            _JOB,
            Field("outcome", {"enum": [*OUTCOME_NAMES]}, "how the attempt ended"),
            Field("state", STATE, "new state of the job"),
            Field("error", null_or(TEXT), "why the attempt did not succeed"),
            Field("stdout", TEXT, "first 400 bytes of its output"),
            Field("stderr", TEXT, "likewise"),
            Field("run_at", null_or(SECONDS), "due time of the next attempt, in epoch seconds"),
            Field("reason", null_or(TEXT), "why the job is dead"),
        ),
    ),
    "rescued": ("the job of a lost worker was rescued", (_WORKER, _JOB, Field("was", TEXT, "name of the lost worker"))),
    "worker_died": (
        "a worker died and will be replaced",
        (
            _WORKER,
            Field("why", TEXT, "exit code, signal or what stopped it"),
            Field("restart_in", SECONDS, "seconds until the restart"),
        ),
    ),
    "worker_stopped": ("a worker stopped on request", (_WORKER,)),
    "warning": ("something unexpected happened", (_WORKER, Field("text", TEXT, "message"))),
    "dropped": (
        "events were dropped because the reader was too slow",
        (Field("count", COUNT, "number of dropped events"),),
    ),
    "failed": (
        "the pool could not start",
        (Field("text", TEXT, "reason"), Field("exit_code", WHOLE, "exit code of the error")),
    ),
}
"""Event: its meaning and its fields besides ``event``."""
