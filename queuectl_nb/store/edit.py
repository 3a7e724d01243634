"""Changes of fields of jobs that have not finished, recorded with their old values."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.call import Kind
from queuectl_nb.model.errors import BadInput, NotFound, WrongState
from queuectl_nb.model.job import RUNNING_EDIT_FIELDS
from queuectl_nb.model.keys import WorkHash
from queuectl_nb.model.state import State, check_action, check_transition
from queuectl_nb.store.boot_time import WALL_CLOCK_ONLY, BootTime, record_boot
from queuectl_nb.store.dependencies import UNMEETABLE, describe_missing, unmet_dependencies
from queuectl_nb.store.jobs import check_dependencies, not_found
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from queuectl_nb.store.connection import Database

__all__ = ["edit_jobs", "read_edits"]

_IDENTITY = ("seq", "id", "state", "kind", "key", "work", "cwd", "env", "attempts", "worker")
_FIELDS = ("command", "priority", "timeout", "max_retries", "queue", "tags", "after", "run_at")
_COLUMNS = (*_IDENTITY, *_FIELDS, "due_boottime")
_RECORDED = (*_FIELDS, "after_any", "key")
_LISTS = ("tags", "after", "after_any")


class _Undo(Exception):
    """Ends the transaction of a dry run without an effect."""


def edit_jobs(
    db: Database,
    ids: Sequence[str],
    changes: Mapping[str, Any],
    now: float,
    boottime: BootTime = WALL_CLOCK_ONLY,
    *,
    selected: bool = False,
    dry_run: bool = False,
) -> tuple[list[str], set[str]]:
    """Change the validated fields ``changes`` of all jobs, or of none; return their ids and the workers that run some.

    A job whose dependencies change becomes blocked or pending. ``selected``: jobs that were deleted, or whose state
    does not allow the changes, are left out. A dry run does everything and undoes it.

    Raises
    ------
    NotFound
        One of the jobs, or a job to wait for, does not exist.
    WrongState
        A job has finished, or runs and a change is not in ``RUNNING_EDIT_FIELDS``; it would wait for a dead or
        cancelled job, or has used more attempts than it may have.
    BadInput
        Jobs would wait for each other, a job that is not a command gets one, or another job does the same work.
    """
    jobs: list[dict[str, Any]] = []
    with contextlib.suppress(_Undo), db.write() as connection:
        if boottime.seconds is not None:
            record_boot(connection, boottime.boot)
        for job_id in ids:
            with contextlib.suppress(*((NotFound, WrongState) if selected else ())):
                jobs.append(_load(connection, job_id, changes))
        for job in jobs:
            _edit(connection, job, changes, now, boottime)
        if dry_run:
            raise _Undo
    running = {job["worker"] for job in jobs if job["state"] == State.PROCESSING and job["worker"]}
    return [job["id"] for job in jobs], running


def read_edits(db: Database, job_id: str) -> list[dict[str, Any]]:
    """Return the edits of a job, oldest first: ``at`` in epoch seconds, and the old and the new value by field."""
    return [{"at": at, "changes": json.loads(changes)} for at, changes in db.query(Q.edits_of_job, {"id": job_id})]


def _load(connection: sqlite3.Connection, job_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a job; raise unless its state and kind allow the changes."""
    row = connection.execute(Q.editable_job, {"id": job_id}).fetchone()
    if row is None:
        raise not_found(connection, job_id)
    job = dict(zip(_COLUMNS, row, strict=True))
    others = json.loads(job["after"])
    any_end = {name for (name,) in connection.execute(Q.any_end_of, {"id": job_id})} if others else set()
    job |= {"tags": json.loads(job["tags"]), "after": [name for name in others if name not in any_end]}
    job["after_any"] = [name for name in others if name in any_end]
    job["state"] = state = State(job["state"])
    check_action("edit", job_id, state)
    refused = [name for name in changes if name not in RUNNING_EDIT_FIELDS]
    if state is State.PROCESSING and refused:
        allowed = ", ".join(RUNNING_EDIT_FIELDS)
        raise WrongState(f"job {job_id} is running; {refused[0]} can no longer be changed, only {allowed}")
    if "command" in changes and job["kind"] != Kind.COMMAND:
        raise BadInput(f"job {job_id} is a {job['kind']}; only jobs that run a command can get another one")
    allowed_attempts = changes.get("max_retries")
    if allowed_attempts is not None and job["attempts"] + (state is not State.PROCESSING) > allowed_attempts:
        raise WrongState(
            f"job {job_id} has used {job['attempts']} attempts, too many for max_retries {allowed_attempts}"
        )
    return job


def _edit(
    connection: sqlite3.Connection, job: dict[str, Any], changes: Mapping[str, Any], now: float, boottime: BootTime
) -> None:
    new = {**job, **{name: value for name, value in changes.items() if name in job}}
    new.update({name: list(changes[name]) for name in _LISTS if name in changes})
    if "delay" in changes:
        since_boot = boottime.seconds
        new["run_at"] = now + changes["delay"]
        new["due_boottime"] = None if since_boot is None else since_boot + changes["delay"]
    elif "run_at" in changes:
        new["due_boottime"] = None
    if "command" in changes and job["key"] is not None:
        _update_key(connection, job, new)
    if "after" in changes or "after_any" in changes:
        _update_dependencies(connection, job, new)
    retimed = "delay" in changes or "run_at" in changes or new["state"] != job["state"]
    if new["state"] is State.PENDING and job["state"] is State.BLOCKED:
        new["run_at"] = max(new["run_at"], now)
    values = {**new, "now": now, "boottime": boottime.seconds, "retimed": retimed}
    values |= {"tags": json.dumps(new["tags"]), "after": json.dumps(new["after"] + new["after_any"])}
    values["after_any"] = json.dumps(new["after_any"]) if new["after_any"] else None
    connection.execute(Q.edit_job, {name: value for name, value in values.items() if f":{name}" in Q.edit_job})
    if old_and_new := {name: [job[name], new[name]] for name in _RECORDED if new[name] != job[name]}:
        connection.execute(Q.keep_edit, {"seq": job["seq"], "now": now, "changes": json.dumps(old_and_new)})


def _update_key(connection: sqlite3.Connection, job: dict[str, Any], new: dict[str, Any]) -> None:
    """Name the new work; a key that was given by the user is kept."""
    new["work"] = WorkHash(Kind.COMMAND, job["cwd"], json.loads(job["env"])).key(new["command"])
    if job["key"] != job["work"]:
        return
    new["key"] = new["work"]
    if other := connection.execute(Q.job_with_key, {"key": new["key"], "seq": job["seq"]}).fetchone():
        raise BadInput(
            f"job {job['id']} would do the work of job {other[0]}, which has the same key; delete one of them"
        )


def _update_dependencies(connection: sqlite3.Connection, job: dict[str, Any], new: dict[str, Any]) -> None:
    """Replace the dependencies of a job that waits, and block or unblock it."""
    seq, job_id, old = job["seq"], job["id"], job["state"]
    after, after_any = new["after"], new["after_any"]
    if both := set(after).intersection(after_any):
        raise BadInput(f"job {min(both)} is in after and in after_any of job {job_id}; give it in one of them")
    found = {
        name: other for name, _, other in connection.execute(Q.states_of_jobs, {"ids": json.dumps(after + after_any)})
    }
    for name in after + after_any:
        if (
            name not in found and name not in job["after"] + job["after_any"]
        ):  # one that was deleted had completed or may end in any way
            missing = describe_missing(connection, name, " to wait for (after)")
            raise NotFound(f"{missing}see 'queuectl list'")
    others = json.dumps(list(found.values()))
    if connection.execute(Q.any_dependency_on, {"others": others, "seq": seq}).fetchone():
        raise BadInput(f"job {job_id} cannot wait for {', '.join(after + after_any)}, which would wait for {job_id}")
    connection.execute(Q.forget_dependencies, {"seq": seq})
    for name, other in found.items():
        connection.execute(Q.add_dependency, {"other": other, "seq": seq, "any_end": name in after_any})
    unmet = unmet_dependencies(connection, seq)
    check_dependencies(job_id, unmet, UNMEETABLE)
    state = State.BLOCKED if unmet else State.PENDING if old is State.BLOCKED else old
    if state is not old:
        check_transition(job_id, old, state)
    new["state"] = state
