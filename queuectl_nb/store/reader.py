"""Read-only queries: lists, counts, history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.state import State
from queuectl_nb.store import rows
from queuectl_nb.store.job_filter import CURSOR, Filter
from queuectl_nb.store.metrics import add_live
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database

__all__ = ["Reader"]

MAX_SORTED_IDS = 10_000
"""Number of jobs that are searched and sorted in no noticeable time."""


class Reader:
    """Queries about jobs and attempts."""

    def __init__(self, db: Database) -> None:
        """Read from ``db``."""
        self.db = db

    # ------------------------------------------------------------------ jobs

    def jobs(self, job_filter: Filter, *, short: bool = False) -> list[JobRecord]:
        """Return the jobs of a filter; ``short`` ones have no ``after`` and ``result``, which may be long."""
        columns = rows.SHORT_JOB_COLUMNS if short else rows.JOB_COLUMNS
        return add_live(self.db, [rows.job_from_row(row) for row in self.job_rows(job_filter, columns)])

    def job_rows(self, job_filter: Filter, columns: str) -> list[tuple[Any, ...]]:
        """Return columns of a filter's jobs as raw rows.

        A page of the newest jobs is read from the index ``jobs_state`` state by state: its cost does not depend on the
        number of jobs.
        """
        if job_filter.sort is None and not job_filter.reverse and job_filter.limit is not None:
            return self._newest(job_filter, columns, job_filter.limit)
        condition, values = job_filter.condition()
        limit = "" if job_filter.limit is None else "LIMIT :limit"
        values["limit"] = job_filter.limit
        sql = f"SELECT {columns} FROM jobs {condition} {job_filter.order_by()} {limit}"
        return self.db.query(sql, values)

    def _newest(self, job_filter: Filter, columns: str, limit: int) -> list[tuple[Any, ...]]:
        terms, values = job_filter.terms()
        found: list[tuple[int, int]] = []
        with self.db.read() as connection:
            counts = dict.fromkeys(map(str, State), limit)
            if job_filter.queue is not None:
                counts = dict(connection.execute(Q.counts_of_queue, {"queue": job_filter.queue}))
            for state in job_filter.state or State:
                most = min(limit, counts.get(str(state), 0))
                if most:
                    found += _newest_of_state(connection, terms, {**values, "state": str(state)}, most)
            found.sort(reverse=True)
            chosen = json.dumps([seq for _, seq in found[:limit]])
            return connection.execute(
                f"SELECT {columns} FROM jobs WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY rev DESC, seq DESC",
                (chosen,),
            ).fetchall()

    def ids(self, job_filter: Filter) -> list[str]:
        """Return the ids of the jobs of a filter in enqueue order."""
        condition, values = job_filter.condition(state_column="+state")
        return [job_id for (job_id,) in self.db.query(f"SELECT id FROM jobs {condition} ORDER BY seq", values)]

    def count(self, job_filter: Filter) -> int:
        """Return the number of jobs of a filter, ignoring its limit."""
        condition, values = job_filter.condition()
        if job_filter == Filter(
            job_filter.state, sort=job_filter.sort, reverse=job_filter.reverse, limit=job_filter.limit
        ):
            counts = self.counts()
            return sum(counts[State(each)] for each in job_filter.state or State)
        ((found,),) = self.db.query(f"SELECT count(*) FROM jobs {condition}", values)
        return int(found)

    def counts(self) -> dict[State, int]:
        """Return the number of jobs in every state, from the table ``tally``."""
        found = dict(self.db.query(Q.counts))
        return {state: found.get(state.value, 0) for state in State}

    def waiting_for(self, job_id: str) -> set[str]:
        """Return the unfinished jobs that cannot finish before this job: itself and its direct and other dependents."""
        return {name for _, _, name in self.db.query(Q.waiting_for, {"id": job_id})}

    def any_end_of(self, job: JobRecord) -> list[str]:
        """Return the jobs in ``after`` of which any end will do (``after_any``)."""
        found = {name for (name,) in self.db.query(Q.any_end_of, {"id": job.id})} if job.after else set()
        return [name for name in job.after if name in found]

    def count_enqueued(self) -> int:
        """Return how many jobs were ever enqueued, including deleted ones."""
        return int(self.db.query(Q.last_seq)[0][0])

    def paused_queues(self) -> list[str]:
        """Return the paused queues; ``["*"]`` when everything is paused."""
        names = [name for (name,) in self.db.query(Q.paused)]
        return ["*"] if "*" in names else names

    def queue_names(self) -> list[str]:
        """Return the names of queues that have jobs or are paused, for completion."""
        sql = "SELECT queue FROM tally WHERE n > 0 UNION SELECT name FROM queues WHERE name <> '*' ORDER BY 1"
        return [name for (name,) in self.db.query(sql)]

    def newest_id(self) -> str | None:
        """Return the id of the job that was enqueued last; None if there are no jobs."""
        return next((str(name) for (name,) in self.db.query(Q.newest_job)), None)

    def complete_ids(self, prefix: str, states: Sequence[State], limit: int) -> list[str]:
        """Return up to ``limit`` job ids that begin with ``prefix``, sorted, for completion."""
        try:
            prefix.encode()
        except UnicodeEncodeError:
            return []
        counts = self.counts()
        # if many jobs match, walk the index on ids until there are enough; the plus rules out the index on states
        state = "state" if sum(counts[each] for each in states) < MAX_SORTED_IDS else "+state"
        marks = ", ".join("?" * len(states))
        sql = f"SELECT id FROM jobs WHERE id >= ? AND id < ? AND {state} IN ({marks}) ORDER BY id LIMIT ?"
        return [job_id for (job_id,) in self.db.query(sql, (prefix, prefix + "\U0010ffff", *states, limit))]

    def complete_tags(self) -> list[str]:
        """Return the tags of the last enqueued jobs, sorted, for completion."""
        return [tag for (tag,) in self.db.query(Q.recent_tags, {"limit": MAX_SORTED_IDS})]

    # ------------------------------------------------------------------ since a revision (wait)

    def changed_since(self, states: Sequence[State], since: int) -> list[tuple[str, State]]:
        """Return id and state of the jobs now in ``states`` that changed after revision ``since``."""
        sql = "SELECT id, state FROM jobs WHERE state = ? AND rev > ?"
        with self.db.read() as connection:
            return [
                (job_id, State(state)) for each in states for job_id, state in connection.execute(sql, (each, since))
            ]

    def states_of(self, ids: Sequence[str]) -> dict[str, State]:
        """Return the states of the given jobs; unknown ids are left out."""
        found = self.db.query(Q.states_of_jobs, {"ids": json.dumps(list(ids))})
        return {job_id: State(state) for job_id, state, _ in found}

    def revisions_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the revisions at which the given jobs were last written; unknown ids are left out."""
        return dict(self.db.query(Q.revisions_of_jobs, {"ids": json.dumps(list(ids))}))

    # ------------------------------------------------------------------ attempts

    def attempts(self, job_id: str) -> list[AttemptRecord]:
        """Return a job's attempts with their stored output, oldest first."""
        return [rows.attempt_from_row(row) for row in self.db.query(Q.attempts_of_job, {"id": job_id})]

    def attempt(self, job_id: str, number: int) -> AttemptRecord | None:
        """Return one attempt with its stored output, or None."""
        found = self.db.query(Q.attempt_of_job, {"id": job_id, "number": number})
        return rows.attempt_from_row(found[0]) if found else None

    def attempts_without_output(self, job_id: str) -> list[AttemptRecord]:
        """Return a job's attempts, oldest first; ``stdout`` and ``stderr`` are None."""
        return [rows.attempt_from_row(row) for row in self.db.query(Q.attempt_facts_of_job, {"id": job_id})]

    def attempt_rows(self, columns: str) -> list[tuple[Any, ...]]:
        """Return columns of all attempts and their jobs as raw rows, in enqueue order."""
        sql = (
            f"SELECT {columns} FROM attempts JOIN jobs ON jobs.seq = attempts.job"
            " ORDER BY attempts.job, attempts.number"
        )
        return self.db.query(sql)

    def result_rows(self, ids: Sequence[str] | None) -> list[tuple[Any, ...]]:
        """Return rows for results of jobs (None: all) in enqueue order.

        Columns: id, command, state, start, end, peak memory, result (JSON).
        """
        which = "" if ids is None else "WHERE id IN (SELECT value FROM json_each(:ids))"
        sql = (
            "SELECT id, command, state, started_at, finished_at, (SELECT max_rss_bytes FROM attempts"
            f" WHERE job = jobs.seq AND number = jobs.starts), result FROM jobs {which} ORDER BY seq"
        )
        return self.db.query(sql, {"ids": json.dumps(ids)})


def _newest_of_state(
    connection: sqlite3.Connection, terms: Sequence[str], values: Mapping[str, object], limit: int
) -> list[tuple[int, int]]:
    """Return (rev, seq) of the newest jobs of a state.

    With a cursor, the rest of its own revision is read first: a million jobs of one enqueue have the same revision,
    and the index finds the position among them only if the revision is given.
    """
    spans = [["rev = :rev", "seq < :seq"], ["rev < :rev"]] if CURSOR in terms else [[]]
    others = [term for term in terms if term != CURSOR]
    found: list[tuple[int, int]] = []
    for span in spans:
        condition = " AND ".join(["state = :state", *span, *others])
        sql = f"SELECT rev, seq FROM jobs WHERE {condition} ORDER BY rev DESC, seq DESC LIMIT :limit"
        found += connection.execute(sql, {**values, "limit": limit - len(found)}).fetchall()
    return found
