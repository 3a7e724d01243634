"""A job to enqueue (:class:`JobSpec`) and a job in the queue (:class:`JobRecord`)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from queuectl_nb.model import times, validation
from queuectl_nb.model.call import Kind, Payload
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import FINISHED_STATES, State

__all__ = [
    "EDIT_FIELDS",
    "JOB_FIELDS",
    "RUNNING_EDIT_FIELDS",
    "SPEC_FIELDS",
    "TIME_FIELDS",
    "JobRecord",
    "JobSpec",
    "natural_key",
    "parse_fields",
]

DEFAULT_QUEUE = "default"
MAX_TIMEOUT_S = 365 * 86_400


class JobSpec(NamedTuple):
    """The validated fields of a new job; times are relative or in epoch seconds.

    A tuple, because a hundred thousand may be created at once, and ``zip`` turns them into columns. ``id`` None: the
    store generates one. ``timeout``, ``max_retries``, ``shell`` None: the current settings. ``cwd`` None: the working
    directory at the enqueue.
    """

    command: str
    id: str | None = None
    priority: int = 0
    delay: float = 0.0
    run_at: float | None = None
    timeout: float | None = None
    max_retries: int | None = None
    queue: str = DEFAULT_QUEUE
    tags: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    after_any: tuple[str, ...] = ()
    cwd: str | None = None
    env: Mapping[str, str] = MappingProxyType({})
    shell: str | None = None
    kind: str = Kind.COMMAND
    payload: Payload | None = None
    identity: tuple[str, str] | None = None
    """What a Python job does, and the version of its source; None: the command."""
    key: str | None = None
    work: str | None = None
    """Hash of what a job with a key does."""

    def with_key(self, key: str, work: str) -> JobSpec:
        """Return the spec with a key and the hash of its work; takes a third of the time of ``_replace``."""
        return JobSpec._make((*self[:-2], key, work))

    @classmethod
    def from_fields(cls, raw: Mapping[str, Any]) -> JobSpec:
        """Return the spec for a mapping of :data:`SPEC_FIELDS`; None values are ignored.

        Raises :class:`BadInput` for an unknown key or an invalid value.
        """
        fields = parse_fields(raw, SPEC_FIELDS)
        if "command" not in fields:
            raise BadInput("a job needs a command")
        return cls(**fields)


def parse_fields(raw: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the validated fields; None values are ignored.

    Raises :class:`BadInput` for a key that is not in ``names``, an invalid value, or values that exclude each other.
    """
    fields: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in names:
            validation.parse_choice("job field", key, names)
        elif value is not None:
            fields[key] = _PARSERS[key](value)
    if "delay" in fields and "run_at" in fields:
        raise BadInput("give either delay or run_at, not both")
    if "after" in fields or "after_any" in fields:
        _check_after(fields.get("id"), fields.get("after", ()), fields.get("after_any", ()))
    return fields


def _check_after(job_id: str | None, after: Sequence[str], after_any: Sequence[str]) -> None:
    for name, others in (("after", after), ("after_any", after_any)):
        if job_id in others:
            raise BadInput(f"job {job_id} cannot wait for itself ({name})")
    if both := set(after).intersection(after_any):
        raise BadInput(f"job {min(both)} is in after and in after_any; give it in one of them")


def _names(what: str, value: object) -> tuple[str, ...]:
    """Return a list of distinct names in the given order; a string counts as a list of one."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise BadInput(f"{what} must be a list of names, not {validation.quoted(value)}")
    return tuple(dict.fromkeys(validation.parse_name(what.rstrip("s"), each) for each in value))


def _env(value: object) -> dict[str, str]:
    """Return an environment from a mapping or from ``K=V`` strings."""
    pairs: Iterable[tuple[object, object]]
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list | tuple) and all(isinstance(each, str) and "=" in each for each in value):
        pairs = [tuple(each.split("=", 1)) for each in value]
    else:
        raise BadInput(f"env must be K=V, not {validation.quoted(value)}")
    return dict(validation.parse_env_pair(key, each) for key, each in pairs)


def natural_key(name: str) -> list[str | int]:
    """Return a key that sorts names with the numbers in them by value.

    >>> sorted(["job-10", "job-2"], key=natural_key)
    ['job-2', 'job-10']
    """
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


_PARSERS: Mapping[str, Any] = {
    "id": lambda value: validation.parse_name("id", value),
    "command": validation.parse_command,
    "priority": lambda value: validation.parse_int("priority", value),
    "delay": lambda value: validation.parse_duration("delay", value),
    "run_at": lambda value: times.parse_time("run_at", value),
    "timeout": lambda value: validation.parse_duration("timeout", value, 0, MAX_TIMEOUT_S),
    "max_retries": lambda value: validation.parse_int("max_retries", value, 1, 1000),
    "queue": lambda value: validation.parse_name("queue", value),
    "tags": lambda value: _names("tags", value),
    "after": lambda value: _names("after", value),
    "after_any": lambda value: _names("after_any", value),
    "cwd": lambda value: validation.parse_text("cwd", value),
    "env": _env,
    "shell": lambda value: validation.parse_shell("shell", value),
    "key": lambda value: validation.parse_name("key", value),
}

SPEC_FIELDS = tuple(_PARSERS)
"""The JSON fields of a new job, in their order."""

RUNNING_EDIT_FIELDS = ("priority", "timeout", "max_retries")
"""Fields that can be changed while a job runs."""
EDIT_FIELDS = ("command", *RUNNING_EDIT_FIELDS, "delay", "run_at", "queue", "tags", "after", "after_any")
"""Fields that can be changed while a job waits."""


class JobRecord(NamedTuple):
    """A job in the queue; times are epoch seconds, None if not known yet.

    ``seq`` is its position in enqueue order, ``rev`` the queue's revision at its last change. ``started_at``,
    ``finished_at``, ``exit_code``, ``error``, ``worker``, ``progress`` and ``metrics`` are those of its latest attempt.
    """

    seq: int
    id: str
    command: str
    state: State
    priority: int
    attempts: int
    max_retries: int | None
    timeout: float | None
    queue: str
    tags: tuple[str, ...]
    after: tuple[str, ...]
    cwd: str
    run_at: float | None
    created_at: float
    updated_at: float
    started_at: float | None
    finished_at: float | None
    exit_code: int | None
    error: str | None
    worker: str | None
    result: Any
    kind: str
    key: str | None
    """Name of its work: enqueuing the same name again keeps or retries this job."""
    progress: float | None
    metrics: Mapping[str, Any] | None
    """The last value of each metric."""
    result_repr: str | None
    rev: int
    shell: str | None

    @property
    def is_finished(self) -> bool:
        """Whether the job is completed, dead or cancelled."""
        return self.state in FINISHED_STATES


JOB_FIELDS = JobRecord._fields[1:-2]
"""The JSON fields of a job, in their order; also the columns of ``job_view`` and of the frames."""
TIME_FIELDS = tuple(name for name in JOB_FIELDS if name.endswith("_at"))
