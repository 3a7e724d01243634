"""Writing new jobs: one or a hundred thousand, all or none."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.errors import BadInput, NotFound
from queuectl_nb.model.state import State
from queuectl_nb.store.dependents import HOPELESS
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queuectl_nb.model.job import JobSpec
    from queuectl_nb.store.connection import Database

__all__ = ["enqueue"]


def enqueue(
    db: Database,
    specs: Sequence[JobSpec],
    *,
    cwd: str,
    kept_env: Mapping[str, str],
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
        A job whose id is there with the same command is left as it is instead of being refused.

    Raises
    ------
    BadInput
        An id is taken, or twice in the list.
    NotFound
        ``after`` names a job that is neither in the queue nor earlier in the list.
    """
    with db.write() as connection:
        if if_absent:
            specs, present = _without_present(connection, specs)
        else:
            present = {}
        first = connection.execute(Q.last_seq).fetchone()[0] + 1
        ids = _ids(connection, specs, first)
        body = json.dumps(kept_env, ensure_ascii=False, sort_keys=True)
        connection.execute(Q.keep_environment, {"body": body})
        environment = connection.execute(Q.environment_id, {"body": body}).fetchone()[0]
        waits = _Waits(connection, dict(zip(ids, range(first, first + len(ids)), strict=True)))
        try:
            connection.executemany(Q.add_job, _rows(specs, ids, first, cwd, environment, now, waits))
        except sqlite3.IntegrityError as error:
            raise _taken(connection, ids) from error
        connection.executemany("INSERT INTO dependents (other, job) VALUES (?, ?)", waits.pairs)
    if not present:
        return ids
    added = iter(ids)
    return [present[place] if place in present else next(added) for place in range(len(present) + len(ids))]


def _without_present(
    connection: sqlite3.Connection, specs: Sequence[JobSpec]
) -> tuple[list[JobSpec], dict[int, str]]:
    """Split off the specs whose id is there with the same command; a different command is refused."""
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
            raise BadInput(msg)
    return absent, present


def _ids(connection: sqlite3.Connection, specs: Sequence[JobSpec], first: int) -> list[str]:
    """Return the specs' ids; those without one get ``job-N``, N being their place, or ``job-N.1`` where that is taken."""
    ours = {spec.id for spec in specs if spec.id}
    wishes = [spec.id or f"job-{seq}" for seq, spec in enumerate(specs, first)]
    if len(ours) == len(specs):
        return wishes
    generated = json.dumps([wish for wish, spec in zip(wishes, specs, strict=True) if not spec.id])
    sql = "SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
    taken = ours.union(job_id for (job_id,) in connection.execute(sql, (generated,)))
    if not taken.intersection(wish for wish, spec in zip(wishes, specs, strict=True) if not spec.id):
        return wishes
    for place, spec in enumerate(specs):
        wish, extra = wishes[place], 1
        while not spec.id and (
            wishes[place] in taken or connection.execute("SELECT 1 FROM jobs WHERE id = ?", (wishes[place],)).fetchone()
        ):
            wishes[place], extra = f"{wish}.{extra}", extra + 1
    return wishes


class _Waits:
    """What the new jobs wait for: resolves ``after`` to places, and to the state that follows from it."""

    def __init__(self, connection: sqlite3.Connection, places: Mapping[str, int]) -> None:
        self.connection = connection
        self.places = places
        self.pairs: list[tuple[int, int]] = []
        self.doomed: set[int] = set()

    def of(self, spec: JobSpec, seq: int) -> tuple[State, str | None]:
        """Return the state that a job with ``after`` begins in, and why where it is cancelled."""
        state, why = State.PENDING, None
        for other in spec.after:
            place, found = self._find(other, seq)
            self.pairs.append((place, seq))
            if found in HOPELESS:
                self.doomed.add(seq)
                return State.CANCELLED, f"job {other}, which it waited for, is {found}"
            if found is not State.COMPLETED:
                state = State.BLOCKED
        return state, why

    def _find(self, other: str, seq: int) -> tuple[int, State]:
        place = self.places.get(other)
        if place is not None and place < seq:
            return place, State.CANCELLED if place in self.doomed else State.BLOCKED
        row = self.connection.execute("SELECT seq, state FROM jobs WHERE id = ?", (other,)).fetchone()
        if row is None:
            msg = f"no job {other} to wait for (after); it must be in the queue, or stand earlier in the same list"
            raise NotFound(msg)
        return row[0], State(row[1])


def _rows(  # noqa: PLR0913 - the facts that all rows share
    specs: Sequence[JobSpec], ids: Sequence[str], first: int, cwd: str, environment: int, now: float, waits: _Waits
) -> Iterator[tuple[Any, ...]]:
    """Yield the parameters of ``add_job`` for each spec."""
    for seq, (job_id, spec) in enumerate(zip(ids, specs, strict=True), first):
        run_at = spec.due(now)
        state, why = waits.of(spec, seq) if spec.after else (State.PENDING, None)
        yield (
            seq,
            job_id,
            spec.command,
            state.value,
            int(state is State.PENDING and run_at <= now),
            spec.priority,
            spec.queue,
            spec.max_retries,
            spec.timeout,
            json.dumps(spec.tags) if spec.tags else "[]",
            json.dumps(spec.after) if spec.after else "[]",
            spec.cwd or cwd,
            json.dumps(spec.env, ensure_ascii=False) if spec.env else "{}",
            environment,
            run_at,
            now,
            now,
            now if state is State.CANCELLED else None,
            why,
        )


def _taken(connection: sqlite3.Connection, ids: Sequence[str]) -> BadInput:
    """Name the id that made the insert fail: the failed statement is undone, what is found now was there before."""
    seen: set[str] = set()
    for job_id in ids:
        if job_id in seen:
            return BadInput(f"job {job_id} stands twice in the list; ids are unique")
        seen.add(job_id)
    for job_id in ids:
        if connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone():
            return BadInput(f"job {job_id} is already in the queue; choose another id (or use --if-absent)")
    return BadInput("a job breaks a rule of the queue's schema")
