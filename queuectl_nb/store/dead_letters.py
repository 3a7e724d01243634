"""The dead letter queue as a whole: retried or purged in small transactions, however many jobs are in it.

Ids that a person names are all or none, in one transaction. A hundred thousand jobs that died of one mistake are
taken AT_ONCE at a time, so that workers and other writers come in between; each job is moved whole or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.state import State
from queuectl_nb.store import moves
from queuectl_nb.store.dependencies import unmet_dependencies
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from queuectl_nb.store.connection import Database

__all__ = ["DeadLetters"]

BATCH_JOBS = 1000
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
            waiting = sorted((seq, job_id) for seq, job_id, waits in dead if waits)
            for seq, job_id in waiting:
                # dead ones are retried with it
                moves.check_dependencies(job_id, unmet_dependencies(connection, seq), [State.CANCELLED])
        pieces = [*_batches([job_id for _, job_id, waits in dead if not waits])]
        if waiting:  # last, in the order of enqueue and together: by then none that they wait for is dead
            pieces.append([job_id for _, job_id in waiting])
        moved: list[str] = []
        for ids in pieces:
            with self.db.write() as connection:
                found = _load_dead(connection, ids)
                moves.retry_jobs(connection, found, now)
            moved += [job.id for job in found]
        return moved

    def purge(self, now: float) -> tuple[list[str], list[str]]:
        """Remove every dead job with its history; return the ids, and the tokens of the attempts."""
        with self.db.read() as connection:
            dead = [job_id for _, job_id, _ in connection.execute(Q.dead_jobs)]
        gone: list[str] = []
        tokens: list[str] = []
        for ids in _batches(dead):
            with self.db.write() as connection:
                found = _load_dead(connection, ids)
                tokens += moves.delete_jobs(connection, found, now)
            gone += [job.id for job in found]
        return gone, tokens


def _load_dead(connection: sqlite3.Connection, ids: Sequence[str]) -> list[moves.JobRef]:
    """Return those of the jobs that nobody else has moved meanwhile."""
    return [job for job in moves.load_jobs(connection, ids).values() if job.state is State.DEAD]


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), BATCH_JOBS):
        yield ids[start : start + BATCH_JOBS]
