"""Writing new jobs: one or a hundred thousand, all or none."""

from __future__ import annotations

import json
import sqlite3
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.errors import BadInput, QueuectlError
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State
from queuectl_nb.store.batch_sql import insert_rows
from queuectl_nb.store.dependencies import DependencyResolver
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.store.connection import Database

__all__ = ["insert_jobs"]


def insert_jobs(  # noqa: PLR0913 - all that an enqueue depends on, by name
    db: Database,
    specs: Sequence[JobSpec],
    *,
    cwd: str,
    recorded_env: Mapping[str, str],
    now: float,
    if_absent: bool = False,
) -> list[str]:
    """Write all ``specs`` in one transaction, or none; return their ids in order.

    Parameters
    ----------
    cwd
        Absolute working directory for the specs that name none.
    kept_env
        The recorded part of the environment, stored once for all of them.
    if_absent
        A job whose id is there with the same command is left as it is instead of being refused; every spec must
        name its id.

    Raises
    ------
    BadInput
        An id is taken, or twice in the list.
    NotFound
        ``after`` names a job that is neither in the queue nor earlier in the list.

    Both tell by their ``place`` which of the specs is meant.
    """
    body = json.dumps(recorded_env, ensure_ascii=False, sort_keys=True)
    if if_absent:
        with db.write() as connection:
            absent, present = _split(connection, specs)
            try:
                added = iter(_NewJobs(absent, cwd, now).write(connection, body, sure=True) if absent else ())
            except QueuectlError as refused:
                if refused.index is not None:
                    refused.with_index([place for place in range(len(specs)) if place not in present][refused.index])
                raise
        return [present[place] if place in present else next(added) for place in range(len(specs))]
    new = _NewJobs(specs, cwd, now)  # before the gate: others wait for the writing only
    if None in new.given:
        try:
            with db.write() as connection:
                return new.write(connection, body, sure=False)
        except sqlite3.IntegrityError:
            pass  # somebody has named a job as we would have: look for free names
    with db.write() as connection:
        return new.write(connection, body, sure=True)


def _split(connection: sqlite3.Connection, specs: Sequence[JobSpec]) -> tuple[list[JobSpec], dict[int, str]]:
    """Tell the specs that are new from those that are there, by place; a different command is refused."""
    absent: list[JobSpec] = []
    present: dict[int, str] = {}
    for place, spec in enumerate(specs):
        found = connection.execute("SELECT command FROM jobs WHERE id = ?", (spec.id,)).fetchone()
        if found is None:
            absent.append(spec)
        elif found[0] == spec.command:
            present[place] = spec.id or ""
        else:
            msg = f"job {spec.id} is already in the queue with another command; choose another id"
            raise BadInput(msg).with_index(place)
    return absent, present


class _Columns:
    """Rows as columns; a column in which all rows have the same value is kept as that one value."""

    def __init__(self, same: Mapping[str, object] = MappingProxyType({})) -> None:
        self.same = dict(same)
        self.own: dict[str, Sequence[object]] = {}

    def put(self, column: str, values: Sequence[object]) -> None:
        if values.count(values[0]) == len(values):
            self.same[column] = values[0]
        else:
            self.own[column] = values

    def copy(self) -> _Columns:
        twin = _Columns(self.same)
        twin.own.update(self.own)
        return twin


class _NewJobs:
    """Jobs to be written, made ready as far as that needs no look at the queue."""

    def __init__(self, specs: Sequence[JobSpec], cwd: str, now: float) -> None:
        self.specs = specs
        self.now = now
        facts: dict[str, Sequence[Any]] = dict(zip(JobSpec._fields, zip(*specs, strict=True), strict=True))
        self.given: Sequence[str | None] = facts["id"]
        _refuse_twice(self.given)
        self.waiting = any(facts["after"])
        due = [now + delay if at is None else at for delay, at in zip(facts["delay"], facts["run_at"], strict=True)]
        self.ready = [int(at <= now) for at in due]
        self.columns = columns = _Columns({"created_at": now, "updated_at": now})
        for column in ("command", "priority", "queue", "max_retries", "timeout"):
            columns.put(column, facts[column])
        columns.put("tags", _listed(facts["tags"]))
        columns.put("after", _listed(facts["after"]))
        columns.put("cwd", [each or cwd for each in facts["cwd"]])
        columns.put("env", [json.dumps(each, ensure_ascii=False) if each else "{}" for each in facts["env"]])
        columns.put("run_at", due)

    def write(self, connection: sqlite3.Connection, environment: str, *, sure: bool) -> list[str]:
        """Write them in the present transaction and return their ids.

        With ``sure`` free names are looked for first, and a name that is taken is told in words; without it, it is
        an ``IntegrityError``.
        """
        first = connection.execute(Q.last_seq).fetchone()[0] + 1
        places = range(first, first + len(self.specs))
        ids = _free_names(connection, self.given, first) if sure else _names(self.given, first)
        connection.execute(Q.keep_environment, {"body": environment})
        columns = self.columns.copy()
        columns.same["environment"] = connection.execute(Q.environment_id, {"body": environment}).fetchone()[0]
        columns.same["rev"] = connection.execute(Q.revision).fetchone()[0]
        waits = (
            DependencyResolver(connection, dict(zip(ids, places, strict=True)), self.specs) if self.waiting else None
        )
        self._put_states(columns, waits, places)
        try:
            insert_rows(connection, "jobs", columns.same, {"seq": places, "id": ids, **columns.own})
        except sqlite3.IntegrityError as error:
            if sure:
                raise _taken(connection, ids, first) from error
            raise
        if waits is not None:
            insert_rows(connection, "dependents", {}, {"other": waits.others, "job": waits.jobs})
        return ids

    def _put_states(self, columns: _Columns, waits: DependencyResolver | None, places: range) -> None:
        if waits is None:
            columns.same["state"] = State.PENDING.value
            columns.put("ready", self.ready)
            return
        states, reasons = zip(*map(waits.resolve, self.specs, places), strict=True)
        pairs = list(zip(self.ready, states, strict=True))
        columns.put("state", [state.value for state in states])
        columns.put("ready", [due if state is State.PENDING else 0 for due, state in pairs])
        columns.put("error", reasons)
        columns.put("finished_at", [self.now if state is State.CANCELLED else None for state in states])


def _listed(values: Sequence[tuple[str, ...]]) -> list[str]:
    """Return lists of names as JSON; each distinct one is written once."""
    texts = {names: json.dumps(names) for names in set(values)}
    return [texts[names] for names in values]


def _names(given: Sequence[str | None], first: int) -> list[str]:
    """Return the ids; a job without one gets ``job-N``, N being its place in the order of enqueue."""
    return [name or f"job-{place}" for place, name in enumerate(given, first)]


def _free_names(connection: sqlite3.Connection, given: Sequence[str | None], first: int) -> list[str]:
    """Return the ids; where ``job-N`` is taken it becomes ``job-N.1``, and so on."""
    ids = _names(given, first)
    made_up = [place for place, name in enumerate(given) if name is None]
    if not made_up:
        return ids
    taken = {name for name in given if name}
    sql = "SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
    taken.update(name for (name,) in connection.execute(sql, (json.dumps([ids[place] for place in made_up]),)))
    for place in made_up:
        name, extra = ids[place], 0
        while ids[place] in taken or (
            extra and connection.execute("SELECT 1 FROM jobs WHERE id = ?", (ids[place],)).fetchone()
        ):
            extra += 1
            ids[place] = f"{name}.{extra}"
        taken.add(ids[place])
    return ids


def _refuse_twice(given: Sequence[str | None]) -> None:
    """Refuse a list that names two jobs alike."""
    seen: set[str] = set()
    for place, name in enumerate(given):
        if name in seen:
            msg = f"job {name} stands twice in the list; ids are unique"
            raise BadInput(msg).with_index(place)
        if name:
            seen.add(name)


def _taken(connection: sqlite3.Connection, ids: Sequence[str], first: int) -> BadInput:
    """Name the id that made the insert fail: what lies before ``first`` was there before."""
    for place, job_id in enumerate(ids):
        if connection.execute("SELECT 1 FROM jobs WHERE id = ? AND seq < ?", (job_id, first)).fetchone():
            return BadInput(f"job {job_id} is already in the queue; choose another id (or use --if-absent)").with_index(
                place
            )
    return BadInput("a job breaks a rule of the queue's schema")
