"""What people do to jobs that are there: retry, cancel, delete, prune, pause. Several ids: all or none."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadInput, NotFound, WrongState
from queuectl_nb.model.state import FINISHED_STATES, State, check_action
from queuectl_nb.model.validation import quoted
from queuectl_nb.store import moves, rows
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database

__all__ = ["Jobs"]

PRUNE_BATCH_JOBS = 500
"""Jobs a transaction removes, so that others never wait long for the gate."""


class Jobs:
    """The jobs of a queue, one row each."""

    def __init__(self, db: Database) -> None:
        """Work on ``db``."""
        self.db = db

    def get(self, job_id: str) -> JobRecord:
        """Return the job; raise :class:`NotFound` for an id that is not there."""
        with self.db.read() as connection:
            return self._load(connection, job_id)

    @staticmethod
    def _load(connection: sqlite3.Connection, job_id: str) -> JobRecord:
        row = None
        if isinstance(job_id, str):
            with contextlib.suppress(UnicodeEncodeError):  # no job has such an id
                row = connection.execute(Q.job_by_id, {"id": job_id}).fetchone()
        if row is None:
            raise _not_found(job_id)
        return rows.job_from_row(row)

    @staticmethod
    def _load_all(connection: sqlite3.Connection, ids: Sequence[str], action: str) -> list[moves.JobRef]:
        """Return the jobs of ``ids``, each once, in the order of enqueue, if ``verb`` takes all of them."""
        found = moves.load_jobs(connection, dict.fromkeys(ids))
        for job_id in ids:
            if job_id not in found:
                raise _not_found(job_id)
            check_action(action, job_id, found[job_id].state)
        return sorted(found.values())

    def retry(self, ids: Sequence[str], now: float, action: str = "retry") -> None:
        """Make the jobs run again now; those that were at rest get a fresh budget.

        A job at rest whose ``--after`` is not met any more becomes blocked again; one that waits for a dead or
        cancelled job is refused, unless that one is retried in the same call. A failed one only skips its wait.
        """
        with self.db.write() as connection:
            moves.retry_jobs(connection, self._load_all(connection, ids, action), now)

    def cancel(self, ids: Sequence[str], now: float) -> list[tuple[str, str | None]]:
        """Cancel the jobs: at once where nobody holds them, else mark them for their worker.

        Returns
        -------
        list of (job id, worker)
            The jobs that still run, with the worker that must end them.
        """
        with self.db.write() as connection:
            running = moves.cancel_jobs(connection, self._load_all(connection, ids, "cancel"), now)
        return [(job.id, job.worker) for job in running]

    def delete(self, ids: Sequence[str], now: float, action: str = "delete") -> list[str]:
        """Remove the jobs with their history; return the tokens of their attempts, whose spool files may go."""
        with self.db.write() as connection:
            return moves.delete_jobs(connection, self._load_all(connection, ids, action), now)

    def prune(
        self, older_than: float, now: float, state: str | None = None, limit: int | None = None
    ) -> tuple[int, list[str]]:
        """Remove jobs at rest that did not change for ``older_than`` seconds, in small transactions.

        ``at_most`` ends it once that many are gone.

        Returns
        -------
        (int, list of str)
            How many were removed, and the tokens of their attempts.
        """
        names = [rest for rest in State if rest in FINISHED_STATES]
        if state is not None and state not in names:
            msg = f"prune removes jobs at rest: {', '.join(names)}; not {state}"
            raise BadInput(msg)
        removed, tokens = 0, []
        for rest in names if state is None else [state]:
            while True:
                with self.db.write() as connection:
                    batch = connection.execute(Q.oldest_at_rest, {"state": rest, "limit": PRUNE_BATCH_JOBS}).fetchall()
                    old = [seq for seq, updated in batch if updated <= now - older_than]
                    places = {"places": json.dumps(old)}
                    tokens += [token for (token,) in connection.execute(Q.tokens_of_jobs, places)]
                    connection.execute(Q.delete_jobs, places)
                removed += len(old)
                if limit is not None and removed >= limit:
                    return removed, tokens
                if not old or len(batch) < PRUNE_BATCH_JOBS:
                    break
        return removed, tokens

    def pause(self, queue: str | None, now: float) -> None:
        """Stop new starts in ``queue``, or everywhere when None."""
        with self.db.write() as connection:
            connection.execute(Q.pause_queue, {"name": queue or "*", "now": now})

    def resume(self, queue: str | None) -> None:
        """Allow starts again in ``queue``; None lifts every pause.

        Raises :class:`WrongState` for a queue that is not paused by its own name while everything is.
        """
        with self.db.write() as connection:
            paused = {name for (name,) in connection.execute(Q.paused)}
            if queue is not None and queue not in paused and "*" in paused:
                msg = (
                    f"everything is paused, not queue {queue} by its name; 'queuectl resume' without a name lifts that"
                )
                raise WrongState(msg)
            connection.execute(Q.resume_queue, {"name": queue or "*"})


def _not_found(job_id: str) -> NotFound:
    return NotFound(f"no job {quoted(job_id).strip(chr(39))} in this queue; 'queuectl list' shows those there are")
