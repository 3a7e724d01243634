"""Inserts jobs with keys: work that was enqueued before is kept or retried, in one transaction with the rest."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, Protocol

from queuectl_nb.model.errors import BadInput, QueuectlError
from queuectl_nb.model.state import State
from queuectl_nb.store.jobs import JobRef, retry_jobs
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from queuectl_nb.model.job import JobSpec
    from queuectl_nb.store.connection import Database

__all__ = ["NewJobs", "Resumed", "insert_missing"]

RETRIED_STATES = frozenset({State.FAILED, State.DEAD, State.CANCELLED})
CHECKED_VERSIONS = 100
"""New jobs for which it is checked whether there is one of another version."""


class Resumed(NamedTuple):
    """How many jobs were kept, retried and enqueued; and whether work of another version was found among the rest."""

    kept: int
    retried: int
    enqueued: int
    changed: bool


class NewJobs(Protocol):
    """Jobs to insert, prepared outside of the transaction."""

    def write_blobs(self) -> None:
        """Write the files of large blobs."""

    def insert(self, connection: sqlite3.Connection, environment: str, *, check_ids: bool) -> list[str]:
        """Insert the jobs in the current transaction and return their ids."""


class _Known(NamedTuple):
    """A job that has a key: a row of ``jobs_by_key``."""

    key: str
    work: str | None
    seq: int
    id: str
    state: str
    worker: str | None
    has_dependencies: bool


def insert_missing(
    db: Database,
    specs: Sequence[JobSpec],
    environment: str,
    prepare: Callable[[Sequence[JobSpec]], NewJobs],
    now: float,
) -> tuple[list[str], Resumed]:
    """Insert the specs whose keys no job has; return the ids of all in order, and what was done.

    Completed, running and waiting jobs are kept; dead, cancelled and failed ones run again with a full retry budget and
    the code, limits, priority and queue of the spec. All get the tags of the spec in addition to theirs. A spec without
    a key is always inserted; of several with the same key, one is.

    Raises
    ------
    BadInput
        A key belongs to other work. The ``index`` of errors is the position in ``specs``.
    """
    first: dict[str, int] = {}
    unkeyed, given = [], []
    for index, spec in enumerate(specs):
        key = spec.key
        if key is None:
            unkeyed.append(index)
            continue
        first.setdefault(key, index)
        if key != spec.work:  # not made of the work
            given.append(index)
    with db.read() as connection:
        version = connection.execute(Q.revision).fetchone()
        known = _find(connection, first)
    while True:
        missing = sorted([*unkeyed, *[index for key, index in first.items() if key not in known]])
        new = prepare([specs[index] for index in missing]) if missing else None
        if new is not None:
            new.write_blobs()
        again = _retried(known)
        _write_blobs(db, [specs[first[each[0]]] for each in again])
        with db.write() as connection:
            found = _find_again(connection, first, known, version)
            if found is not known:
                if found.keys() != known.keys():  # others have enqueued or deleted meanwhile
                    known, version = found, connection.execute(Q.revision).fetchone()
                    continue
                again = _retried(found)
            _check_work(specs, given, first, found)
            retried = sorted(JobRef.from_row(each[2:]) for each in again)
            retry_jobs(connection, retried, now, fresh=True)
            _renew(db, connection, [(each[2], specs[first[each[0]]]) for each in again], environment)
            _add_tags(connection, [(each[2], specs[first[key]].tags) for key, each in found.items()])
            changed = _has_other_version(connection, [specs[index].key for index in missing])
            try:
                ids = new.insert(connection, environment, check_ids=True) if new is not None else []
            except QueuectlError as error:
                if error.index is not None:
                    error.with_index(missing[error.index])
                raise
        break
    by_index = dict(zip(missing, ids, strict=True))
    by_key = {key: each[3] for key, each in found.items()}
    by_key |= {specs[index].key or "": job_id for index, job_id in by_index.items()}
    all_ids = [by_index[index] if spec.key is None else by_key[spec.key] for index, spec in enumerate(specs)]
    kept = len(specs) - len(missing) - len(retried)
    return all_ids, Resumed(kept, len(retried), len(missing), changed)


def _find(connection: sqlite3.Connection, keys: Iterable[str]) -> dict[str, _Known]:
    """Return the jobs that have one of these keys; as plain tuples, since there may be many."""
    return {row[0]: row for row in connection.execute(Q.jobs_by_key, {"keys": json.dumps([*keys])})}


def _find_again(
    connection: sqlite3.Connection, keys: Mapping[str, int], known: dict[str, _Known], version: tuple[int, int]
) -> dict[str, _Known]:
    """Return the jobs that have one of these keys: those ``known`` at the revision ``version``, and what changed."""
    rev, removed = version
    if connection.execute(Q.revision).fetchone()[1] != removed:
        return _find(connection, keys)
    changed = {row[2]: row for row in connection.execute(Q.keyed_jobs_since, {"rev": rev})}
    if not changed:
        return known
    found = {key: each for key, each in known.items() if each[2] not in changed}
    return found | {each[0]: each for each in changed.values() if each[0] in keys}


def _retried(found: Mapping[str, _Known]) -> list[_Known]:
    return [each for each in found.values() if each[4] in RETRIED_STATES]


def _write_blobs(db: Database, specs: Iterable[JobSpec]) -> None:
    """Write the large blobs of Python jobs that run again before the transaction."""
    if payloads := [spec.payload for spec in specs if spec.payload is not None]:
        from queuectl_nb.store.blobs import write_blobs_of

        write_blobs_of(db, payloads)


def _renew(db: Database, connection: sqlite3.Connection, jobs: Sequence[tuple[int, JobSpec]], environment: str) -> None:
    """Apply the new specs of jobs, by seq, apart from their work and tags: code, limits, priority, queue."""
    if not jobs:
        return
    connection.execute(Q.keep_environment, {"body": environment})
    alike = defaultdict(list)
    for seq, spec in jobs:
        alike[spec.priority, spec.queue, spec.timeout, spec.max_retries, spec.shell].append(seq)
    for options, seqs in alike.items():
        connection.execute(Q.renew_jobs, (*options, environment, json.dumps(seqs)))
    if payloads := {seq: spec.payload for seq, spec in jobs if spec.payload is not None}:
        from queuectl_nb.store.calls import replace_payloads

        replace_payloads(db, connection, payloads)


def _add_tags(connection: sqlite3.Connection, jobs: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Add tags to jobs, by seq, so that a selection by the tag of a sweep includes the kept jobs."""
    alike = defaultdict(list)
    for seq, tags in jobs:
        if tags:
            alike[tuple(tags)].append(seq)
    for each, seqs in alike.items():
        connection.execute(Q.add_tags, {"tags": json.dumps(each), "seqs": json.dumps(seqs)})


def _check_work(
    specs: Sequence[JobSpec], given: Iterable[int], first: Mapping[str, int], found: Mapping[str, _Known]
) -> None:
    """Raise ``BadInput`` if one of the ``given`` keys belongs to other work, in the queue or in the list itself."""
    for index in given:
        key, work = specs[index].key or "", specs[index].work
        known = found.get(key)
        if (specs[first[key]].work if known is None else known[1]) != work:
            owner = "an earlier job in the list" if known is None else f"job {known[3]}"
            msg = f"key {key} is that of {owner}, which does other work; choose another key"
            raise BadInput(msg).with_index(index)


def _has_other_version(connection: sqlite3.Connection, keys: Sequence[str | None]) -> bool:
    """Return whether one of the first keys exists with another version of the source."""
    for key in keys[:CHECKED_VERSIONS]:
        name, point, _ = (key or "").partition(".")
        values = {"from": f"{name}.", "until": f"{name}/"}  # the slash follows the point
        if point and connection.execute(Q.any_key_between, values).fetchone():
            return True
    return False
