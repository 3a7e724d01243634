"""A worker's access to the queue: settle ended attempts, release unstarted ones, claim the next jobs.

All in one transaction, because a commit costs more than its statements. Every write is fenced by the attempt's token:
a late result changes no row.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.state import State
from queuectl_nb.store import rows
from queuectl_nb.store.boot_time import WALL_CLOCK_ONLY, BootTime, NextDue, record_boot
from queuectl_nb.store.queries import Q, run_for_rows
from queuectl_nb.store.settle import EndedAttempt, HeldLease, StartedAttempt, record_ended, record_start, release_claim

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.lifecycle import Transition
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.connection import Database

__all__ = ["ClaimResult", "Claims", "EndedAttempt", "HeldLease", "QueueWithWork", "StartedAttempt"]


MAX_LAST_JOBS = 8
WORKERS_PER_LAST_JOB = 16
"""With many workers even the last jobs are claimed a few at a time: a transaction each takes longer than they do."""


class ClaimResult(NamedTuple):
    """The transition of each ended attempt (None: its result came too late), and the leases claimed."""

    settled: list[Transition | None]
    leases: list[Lease]
    waiting: int
    """Upper bound of the jobs that still wait in the worker's queues."""
    unblocked: int
    """Jobs that can start now because others have ended: their dependents, and jobs of a queue with a limit."""
    version: int
    """The data version (:meth:`Database.data_version`): later commits of others change it."""


class QueueWithWork(NamedTuple):
    """A queue whose jobs the worker may start: how many wait, and how many more may run (None: any number)."""

    waiting: int
    free: int | None


class Claims:
    """Claims and settles jobs for the worker ``worker`` on ``host``."""

    def __init__(
        self, db: Database, worker: str, host: str, queues: Sequence[str] = (), *, parallel: bool = False
    ) -> None:
        """Work on ``db``; empty ``queues`` means all. ``parallel``: the worker runs all claimed jobs at a time."""
        self.db = db
        self.worker = worker
        self.host = host
        self.queues = frozenset(queues)
        self.parallel = parallel

    def settle_and_claim(
        self,
        *,
        ended: Sequence[EndedAttempt] = (),
        released: Sequence[Lease | HeldLease] = (),
        limit: int = 0,
        started: Sequence[StartedAttempt] = (),
        settings: Settings,
        now: float,
        rand: float,
        boottime: BootTime = WALL_CLOCK_ONLY,
    ) -> ClaimResult:
        """Record ``ended`` attempts, undo ``released`` claims, and claim up to ``limit`` jobs, in one transaction.

        ``started`` are running attempts; they are recorded once they have run for a few milliseconds. Delays and
        backoffs end by ``boottime``; without it, as all other times, by ``now``.
        """
        with self.db.write() as connection:
            version = connection.execute("PRAGMA data_version").fetchone()[0]
            record_boot(connection, boottime.boot)
            settled, woken = record_ended(connection, ended, settings, now, rand, boottime=boottime)
            done = sum(transition is not None for transition in settled)
            if done:
                connection.execute(Q.count_done, {"worker": self.worker, "n": done})
            for lease in released:
                release_claim(connection, lease, now)
            for each in started:
                record_start(connection, each)
            leases, waiting = self._claim(connection, limit, now, boottime) if limit else ([], 0)
            if not limit and (done or released) and connection.execute(Q.any_limits).fetchone():
                woken += sum(queue.waiting for queue in self._queues_with_work(connection).values() if queue.free)
        return ClaimResult(settled, leases, waiting, woken, version)

    def _claim(
        self, connection: sqlite3.Connection, limit: int, now: float, boottime: BootTime
    ) -> tuple[list[Lease], int]:
        connection.execute(Q.promote_due, {"now": now, "boottime": boottime.seconds})
        queues = self._queues_with_work(connection)
        waiting = sum(_startable(queue) for queue in queues.values())
        if not waiting:
            return [], 0
        # no prefetching of the last jobs, which another worker could start now
        workers = max(1, connection.execute(Q.count_workers).fetchone()[0])
        limit = min(limit, max(1, waiting // workers, min(MAX_LAST_JOBS, workers // WORKERS_PER_LAST_JOB)))
        found: list[tuple[object, ...]] = []
        for queue, (_, free) in queues.items():
            most = limit if free is None else min(limit, free)
            found += connection.execute(Q.ready_in_queue, {"queue": queue, "limit": most}).fetchall()
        if len(queues) > 1:
            found.sort(key=lambda row: (-row[6], row[0]))  # type: ignore[operator]  # priority down, then the older
        if not self.parallel:  # a claimed job counts as running: claim one of a limited queue only to start it next
            found = found[:1] + [row for row in found[1:] if queues[str(row[5])].free is None]
        found = found[:limit]
        ids = json.dumps(list({row[-1] for row in found}))
        recorded = rows.parse_environments(connection.execute(Q.environments_of_claimed, {"ids": ids}))
        leases = [rows.lease_from_row(row, os.urandom(16).hex(), recorded) for row in found]
        claimed = [(lease.token, self.worker, self.host, now, lease.seq) for lease in leases]
        run_for_rows(connection, Q.open_attempt, claimed)
        run_for_rows(connection, Q.claim_job, claimed)
        return leases, waiting - len(leases)

    def _serves(self, queue: str) -> bool:
        return not self.queues or queue in self.queues

    def _queues_with_work(self, connection: sqlite3.Connection) -> dict[str, QueueWithWork]:
        """Return the served queues that have waiting jobs, are not paused, and are below their limit."""
        return {
            queue: QueueWithWork(waiting, free)
            for queue, waiting, free in connection.execute(Q.queues_with_work)
            if self._serves(queue) and (free is None or free > 0)
        }

    def find_work(self, now: float, boottime: BootTime = WALL_CLOCK_ONLY) -> tuple[bool, NextDue]:
        """Return whether a claim would find a job, and when the next scheduled job is due; does not write."""
        with self.db.read() as connection:
            due = NextDue(*connection.execute(Q.next_due).fetchone())
            found = due.remaining_s(now, boottime) <= 0 or any(
                connection.execute(Q.best_ready_priority, {"queue": queue}).fetchone()
                for queue in self._queues_with_work(connection)
            )
            return found, due

    def first_ready(self) -> list[int]:
        """Return the first ready job (seq) of each served queue."""
        with self.db.read() as connection:
            found = [
                connection.execute(Q.ready_in_queue, {"queue": queue, "limit": 1}).fetchone()
                for queue in self._queues_with_work(connection)
            ]
            return [row[0] for row in found if row is not None]

    def count_ready(self, limit: int, now: float, boottime: BootTime = WALL_CLOCK_ONLY) -> int:
        """Return how many jobs could start now, counted up to ``limit``; does not write."""
        with self.db.read() as connection:
            found = 0
            for queue, (_, free) in self._queues_with_work(connection).items():
                most = limit - found if free is None else min(limit - found, free)
                if most > 0:
                    found += connection.execute(Q.ready_count, {"queue": queue, "limit": most}).fetchone()[0]
            values = {"now": now, "boottime": boottime.seconds, "limit": max(0, limit - found)}
            due: int = connection.execute(Q.due_count, values).fetchone()[0]
            return found + due

    def preempted(self, leases: Sequence[Lease]) -> list[Lease]:
        """Return those of the unstarted ``leases`` that must not start any more.

        They were cancelled or lost, or their queue was paused; all of them if a job of higher priority is ready.
        """
        with self.db.read() as connection:
            for queue in self._queues_with_work(connection):
                best = connection.execute(Q.best_ready_priority, {"queue": queue}).fetchone()
                if best and best[0] > leases[0].priority:
                    return list(leases)
            seqs = json.dumps([lease.seq for lease in leases])
            valid = {token for (token,) in connection.execute(Q.still_valid, {"seqs": seqs})}
        return [lease for lease in leases if lease.token not in valid]

    def owns(self, lease: Lease) -> bool:
        """Return True if the worker still holds the attempt."""
        return bool(self.db.query(Q.held_job, (lease.seq, lease.token)))

    def with_current_timeout(self, lease: Lease) -> Lease | None:
        """Return the lease with the timeout that its job has now, or None if the worker no longer holds the attempt."""
        found = self.db.query(Q.held_timeout, {"seq": lease.seq, "token": lease.token})
        if not found:
            return None
        ((timeout,),) = found
        return lease if timeout == lease.timeout else lease._replace(timeout=timeout)

    def has_ended_as(self, lease: Lease, outcome: Outcome) -> bool:
        """Return True if an earlier attempt of the job has ended with ``outcome``."""
        return bool(self.db.query(Q.ended_as, (lease.seq, outcome.name, outcome.error)))

    def cancel_requests(self) -> set[str]:
        """Return the tokens of this worker's attempts for which a cancel was requested."""
        return {token for _, token in self.db.query(Q.cancels_of_worker, {"worker": self.worker})}

    def count_unfinished(self, enclosing_job: str | None = None) -> int:
        """Return how many jobs of the worker's queues are unfinished, except those waiting in paused queues.

        The job ``enclosing_job``, which waits for this worker, and the jobs that wait for that job do not count.
        """
        with self.db.read() as connection:
            queues = json.dumps(sorted(self.queues))
            found: int = connection.execute(Q.count_unfinished, {"queues": queues}).fetchone()[0]
            if found and enclosing_job is not None:
                paused = {name for (name,) in connection.execute(Q.paused)}
                for state, queue, _ in connection.execute(Q.waiting_for, {"id": enclosing_job}):
                    if self._serves(queue) and (state == State.PROCESSING or not paused & {"*", queue}):
                        found -= 1
            return found

    def held_leases(self) -> list[HeldLease]:
        """Return the leases that the worker holds; a rescuer calls this for a lost worker."""
        return [HeldLease(*row) for row in self.db.query(Q.held_by_worker, {"worker": self.worker})]

    def take_over(self, tokens: Sequence[str]) -> list[Lease]:
        """Hold leases of dead workers from now on; return the valid ones, without what only a start needs."""
        values = {"worker": self.worker, "tokens": json.dumps(list(tokens))}
        with self.db.write() as connection:
            connection.execute(Q.take_over, values)
            found = connection.execute(Q.taken_over, values).fetchall()
        return [rows.lease_from_row(row, token, {}) for token, *row in found]


def _startable(queue: QueueWithWork) -> int:
    """Return an upper bound of the waiting jobs of a queue that can start."""
    return queue.waiting if queue.free is None else min(queue.waiting, queue.free)
