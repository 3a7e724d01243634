"""The dead letter queue as a whole: retried or purged in small transactions, however many jobs are in it.

Ids that a person names are all or none, in one transaction. A hundred thousand jobs that died of one mistake are
taken AT_ONCE at a time, so that workers and other writers come in between; each job is moved whole or not at all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import WrongState
from queuectl_nb.model.state import State
from queuectl_nb.store import rows
from queuectl_nb.store.dependents import unmet
from queuectl_nb.store.jobs import remove, retry
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database

__all__ = ["DeadLetters"]

AT_ONCE = 1000
"""Jobs moved in a transaction: some ten milliseconds."""


class DeadLetters:
    """All dead jobs of a queue."""

    def __init__(self, db: Database) -> None:
        """Work on ``db``."""
        self.db = db

    def retry(self, now: float) -> list[str]:
        """Give every dead job a fresh budget and queue it again; return the ids, the longest dead first.

        One that waited for others which are not completed (they ran again since) is blocked until they are. Raises
        :class:`WrongState`, before anything is changed, where such another is cancelled.
        """
        with self.db.read() as connection:
            dead = connection.execute(Q.dead_jobs).fetchall()
            waiting = [(seq, job_id) for seq, job_id, waits in dead if waits]
            for seq, job_id in waiting:
                _refuse_hopeless(connection, seq, job_id)
        moved: list[str] = []
        for places in _pieces(seq for seq, _, waits in dead if not waits):
            with self.db.write() as connection:
                moved += _names(connection, Q.retry_dead_jobs, places, now=now)
        if waiting:
            with self.db.write() as connection:
                for _, job_id in sorted(waiting):  # in the order of enqueue: what a job waits for stands before it
                    if (job := _if_dead(connection, job_id)) is not None:
                        retry(connection, job, now)
                        moved.append(job_id)
        return moved

    def purge(self, now: float) -> tuple[list[str], list[str]]:
        """Remove every dead job with its history; return the ids, and the tokens of the attempts."""
        with self.db.read() as connection:
            dead = connection.execute(Q.dead_jobs).fetchall()
        gone: list[str] = []
        tokens: list[str] = []
        for places in _pieces(seq for seq, _, _ in dead):
            with self.db.write() as connection:
                for job_id in _names(connection, Q.dead_with_dependents, places):
                    if (job := _if_dead(connection, job_id)) is not None:
                        tokens += remove(connection, job, now)
                        gone.append(job_id)
                rest = json.dumps([seq for (seq,) in connection.execute(Q.still_dead, {"places": places})])
                tokens += _names(connection, Q.tokens_of_jobs, rest)
                gone += _names(connection, Q.delete_jobs, rest)
        return gone, tokens


def _refuse_hopeless(connection: sqlite3.Connection, seq: int, job_id: str) -> None:
    """Refuse a retry of all where a dead job waits for a cancelled one; dead ones are retried with it."""
    for other, state in unmet(connection, seq):
        if state is State.CANCELLED:
            msg = f"job {job_id} waits for {other}, which is {state}; retry that one first"
            raise WrongState(msg)


def _if_dead(connection: sqlite3.Connection, job_id: str) -> JobRecord | None:
    """Return the job, unless somebody else has moved it meanwhile."""
    row = connection.execute(Q.job_by_id, {"id": job_id}).fetchone()
    job = None if row is None else rows.job(row)
    return job if job is not None and job.state is State.DEAD else None


def _pieces(seqs: Iterable[int]) -> Iterator[str]:
    """Yield the places as JSON lists, AT_ONCE in each."""
    every = list(seqs)
    for start in range(0, len(every), AT_ONCE):
        yield json.dumps(every[start : start + AT_ONCE])


def _names(connection: sqlite3.Connection, statement: str, places: str, **values: float) -> list[str]:
    """Return the names, one a row, that a statement over places gives."""
    return [name for (name,) in connection.execute(statement, {"places": places, **values}).fetchall()]
