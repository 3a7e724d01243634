"""Inserts new jobs: one or a hundred thousand, all or none."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.errors import BadInput, QueuectlError
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State
from queuectl_nb.store.boot_time import WALL_CLOCK_ONLY, BootTime, record_boot
from queuectl_nb.store.dependencies import DependencyResolver
from queuectl_nb.store.queries import Q, insert_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.call import Payload
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.keys import Resumed

__all__ = ["Inserted", "insert_jobs"]


class Inserted(NamedTuple):
    """The ids of jobs in the order of their specs; and what was done, if some of them have keys."""

    ids: list[str]
    resumed: Resumed | None = None


def insert_jobs(
    db: Database,
    specs: Sequence[JobSpec],
    *,
    cwd: str,
    recorded_env: Mapping[str, str],
    now: float,
    boottime: BootTime = WALL_CLOCK_ONLY,
    if_absent: bool = False,
) -> Inserted:
    """Insert all ``specs`` in one transaction, or none; return their ids in order.

    Parameters
    ----------
    cwd
        Absolute working directory of the specs that have none.
    recorded_env
        The recorded part of the environment, stored once for all of them.
    now, boottime
        The time by both clocks; without ``boottime``, delays end by the wall clock.
    if_absent
        Skip a job whose id exists with the same command instead of refusing it. Every spec must have an id.

    Specs with keys are inserted as :func:`.keys.insert_missing` does.

    Raises
    ------
    BadInput
        An id exists already, or occurs twice in the list.
    NotFound
        ``after`` names a job that is neither in the queue nor earlier in the list.

    The ``index`` of either error is the position in ``specs``.
    """
    environment = json.dumps(recorded_env, ensure_ascii=False, sort_keys=True)
    if any(spec.key is not None for spec in specs):
        from queuectl_nb.store.keys import insert_missing

        return Inserted(
            *insert_missing(db, specs, environment, lambda each: _NewJobs(db, each, cwd, now, boottime), now)
        )
    if if_absent:
        with db.write() as connection:
            if absent := _find_absent(connection, specs):
                try:
                    new = _NewJobs(db, [specs[index] for index in absent], cwd, now, boottime)
                    new.insert(connection, environment, check_ids=True)
                except QueuectlError as error:
                    if error.index is not None:
                        error.with_index(absent[error.index])
                    raise
        return Inserted([str(spec.id) for spec in specs])
    new = _NewJobs(db, specs, cwd, now, boottime)  # before taking the write lock, which others wait for
    new.write_blobs()
    if None in new.given_ids:
        try:
            with db.write() as connection:
                return Inserted(new.insert(connection, environment, check_ids=False))
        except sqlite3.IntegrityError:
            pass  # a generated id exists already: search for free ones
    with db.write() as connection:
        return Inserted(new.insert(connection, environment, check_ids=True))


def _find_absent(connection: sqlite3.Connection, specs: Sequence[JobSpec]) -> list[int]:
    """Return the indexes of specs whose id does not exist; an existing id with a different command is refused."""
    absent: list[int] = []
    for index, spec in enumerate(specs):
        found = connection.execute("SELECT command FROM jobs WHERE id = ?", (spec.id,)).fetchone()
        if found is None:
            absent.append(index)
        elif found[0] != spec.command:
            msg = f"job {spec.id} is already in the queue with another command; choose another id"
            raise BadInput(msg).with_index(index)
    return absent


class _NewJobs:
    """New jobs as columns, prepared as far as possible without reading the queue.

    A column with the same value in all rows is kept as that one value, in ``shared``.
    """

    def __init__(self, db: Database, specs: Sequence[JobSpec], cwd: str, now: float, boottime: BootTime) -> None:
        self.db = db
        self.specs = specs
        self.now = now
        self.boottime = boottime
        fields: dict[str, Sequence[Any]] = dict(zip(JobSpec._fields, zip(*specs, strict=True), strict=True))
        self.given_ids: Sequence[str | None] = fields["id"]
        self.payloads: Sequence[Payload | None] = fields["payload"]
        _check_unique(self.given_ids)
        self.has_dependencies = any(fields["after"]) or any(fields["after_any"])
        run_at = [
            now + delay if at is None else at for delay, at in zip(fields["delay"], fields["run_at"], strict=True)
        ]
        self.ready = [int(at <= now) for at in run_at]
        self.has_durations = self.has_dependencies or any(fields["delay"])
        self.shared: dict[str, object] = {"created_at": now, "updated_at": now}
        self.columns: dict[str, Sequence[object]] = {}
        self._add(
            {name: fields[name] for name in ("command", "priority", "queue", "max_retries", "timeout", "shell", "kind")}
        )
        self._add(
            {
                "tags": _encode(fields["tags"]),
                "after": _encode(
                    [spec.after + spec.after_any for spec in specs] if self.has_dependencies else fields["after"]
                ),
                "cwd": [each or cwd for each in fields["cwd"]],
                "env": [json.dumps(each, ensure_ascii=False) if each else "{}" for each in fields["env"]],
                "run_at": run_at,
            }
        )
        if any(fields["after_any"]):
            self._add({"after_any": [json.dumps(each) if each else None for each in fields["after_any"]]})
        if any(fields["key"]):
            self._add({"key": fields["key"], "work": fields["work"]})
        if self.has_durations and (since_boot := boottime.seconds) is not None:
            durations = [spec.run_at is None and bool(spec.delay or spec.after or spec.after_any) for spec in specs]
            due = [since_boot + spec.delay if counts else None for spec, counts in zip(specs, durations, strict=True)]
            self._add({"due_boottime": due})

    def _add(self, columns: Mapping[str, Sequence[object]]) -> None:
        for name, values in columns.items():
            if values.count(values[0]) == len(values):
                self.shared[name] = values[0]
                self.columns.pop(name, None)
            else:
                self.columns[name] = values
                self.shared.pop(name, None)

    def write_blobs(self) -> None:
        """Write the files of large blobs, which takes long, before the transaction that needs them."""
        if any(self.payloads):
            from queuectl_nb.store.blobs import write_blobs_of

            write_blobs_of(self.db, self.payloads)

    def insert(self, connection: sqlite3.Connection, environment: str, *, check_ids: bool) -> list[str]:
        """Insert the jobs in the current transaction and return their ids.

        With ``check_ids`` free ids are generated and an existing id raises ``BadInput``; without, any existing id
        raises ``IntegrityError``.
        """
        first = connection.execute(Q.last_seq).fetchone()[0] + 1
        seqs = range(first, first + len(self.specs))
        ids = [name or f"job-{seq}" for seq, name in zip(seqs, self.given_ids, strict=True)]
        if check_ids and None in self.given_ids:
            _make_unique(connection, ids, self.given_ids)
        connection.execute(Q.keep_environment, {"body": environment})
        self.shared["environment"] = connection.execute(Q.environment_id, {"body": environment}).fetchone()[0]
        self.shared["rev"] = connection.execute(Q.revision).fetchone()[0]
        self.shared["state"] = State.PENDING.value
        self._add({"ready": self.ready})
        if self.has_durations:
            record_boot(connection, self.boottime.boot)
        resolver = None
        if self.has_dependencies:
            resolver = DependencyResolver(connection, dict(zip(ids, seqs, strict=True)), self.specs)
            self._add_states(resolver, seqs)
        try:
            insert_rows(connection, "jobs", self.shared, {"seq": seqs, "id": ids, **self.columns})
        except sqlite3.IntegrityError as error:
            if check_ids:
                raise _id_exists(connection, ids, first) from error
            raise
        if resolver is not None:
            insert_rows(connection, "dependents", {}, resolver.columns)
        if any(self.payloads):
            from queuectl_nb.store.calls import insert_payloads

            given = {seq: payload for seq, payload in zip(seqs, self.payloads, strict=True) if payload is not None}
            insert_payloads(self.db, connection, given)
        return ids

    def _add_states(self, resolver: DependencyResolver, seqs: range) -> None:
        states, reasons = zip(*map(resolver.resolve, self.specs, seqs), strict=True)
        pending = [state is State.PENDING for state in states]
        self._add(
            {
                "state": [state.value for state in states],
                "ready": [ready if free else 0 for ready, free in zip(self.ready, pending, strict=True)],
                "error": reasons,
                "finished_at": [self.now if state is State.CANCELLED else None for state in states],
            }
        )


def _encode(values: Sequence[tuple[str, ...]]) -> list[str]:
    """Return lists of names as JSON. Many jobs have the same: a dict is half as fast again as ``functools.cache``."""
    encoded = {names: json.dumps(names) for names in set(values)}
    return [encoded[names] for names in values]


def _make_unique(connection: sqlite3.Connection, ids: list[str], given: Sequence[str | None]) -> None:
    """Replace generated ids that exist already: ``job-N`` becomes ``job-N.1``, and so on."""
    generated = [index for index, name in enumerate(given) if name is None]
    taken = {name for name in given if name}
    candidates = json.dumps([ids[index] for index in generated])
    taken.update(name for name, _, _ in connection.execute(Q.states_of_jobs, {"ids": candidates}))
    for index in generated:
        name, extra = ids[index], 0
        while ids[index] in taken or (
            extra and connection.execute("SELECT 1 FROM jobs WHERE id = ?", (ids[index],)).fetchone()
        ):
            extra += 1
            ids[index] = f"{name}.{extra}"
        taken.add(ids[index])


def _check_unique(given: Sequence[str | None]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(given):
        if name in seen:
            raise BadInput(f"job {name} occurs twice in the list; ids are unique").with_index(index)
        if name:
            seen.add(name)


def _id_exists(connection: sqlite3.Connection, ids: Sequence[str], first: int) -> BadInput:
    """Return the error for the id that made the insert fail; rows before seq ``first`` are older."""
    for index, job_id in enumerate(ids):
        if connection.execute("SELECT 1 FROM jobs WHERE id = ? AND seq < ?", (job_id, first)).fetchone():
            msg = f"job {job_id} is already in the queue; choose another id, or give if_absent=True"
            return BadInput(msg).with_option("if_absent=True", "--if-absent").with_index(index)
    return BadInput("a job violates a constraint of the database schema")
