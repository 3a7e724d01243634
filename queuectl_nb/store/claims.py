"""A worker's turn at the database: record what ended, give back what will not start, claim what comes next.

All in one transaction, since a commit costs more than all of its statements. Every write is fenced by the
attempt's token: a result that comes too late changes no row.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.store import rows
from queuectl_nb.store.batch_sql import run_for_rows
from queuectl_nb.store.queries import Q
from queuectl_nb.store.settle import EndedAttempt, HeldLease, StartedAttempt, record_ended, record_start, release_claim

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.lifecycle import Transition
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.connection import Database

__all__ = ["ClaimResult", "Claims", "EndedAttempt", "HeldLease", "StartedAttempt"]


class ClaimResult(NamedTuple):
    """What a turn brought: a transition for each ended attempt (None: too late), and the leases claimed."""

    settled: list[Transition | None]
    leases: list[Lease]
    waiting: int
    """Jobs that still wait in the queues looked at, an upper bound."""
    unblocked: int
    """Jobs that wait for nothing any more now that others completed."""


class Claims:
    """The claiming and settling side of a queue, for the worker ``worker`` on ``host``."""

    def __init__(self, db: Database, worker: str, host: str, queues: Sequence[str] = ()) -> None:
        """Work on ``db`` for the given worker; ``queues`` empty means all."""
        self.db = db
        self.worker = worker
        self.host = host
        self.queues = frozenset(queues)

    def settle_and_claim(  # noqa: PLR0913 - one transaction's whole input
        self,
        *,
        ended: Sequence[EndedAttempt] = (),
        released: Sequence[Lease | HeldLease] = (),
        limit: int = 0,
        started: Sequence[StartedAttempt] = (),
        settings: Settings,
        now: float,
        rand: float,
    ) -> ClaimResult:
        """Record ``ended``, give ``back``, and claim up to ``want`` jobs, in one transaction.

        ``started`` are attempts that run on, recorded once they have lasted a while.
        """
        with self.db.write() as connection:
            settled, woken = record_ended(connection, ended, settings, now, rand)
            done = sum(transition is not None for transition in settled)
            if done:
                connection.execute(Q.count_done, {"worker": self.worker, "n": done})
            for lease in released:
                release_claim(connection, lease, now)
            for each in started:
                record_start(connection, each)
            leases, waiting = self._claim(connection, limit, now) if limit else ([], 0)
        return ClaimResult(settled, leases, waiting, woken)

    def _claim(self, connection: sqlite3.Connection, want: int, now: float) -> tuple[list[Lease], int]:
        connection.execute(Q.promote_due, {"now": now})
        queues = [(queue, n) for queue, n in connection.execute(Q.queues_with_work).fetchall() if self._serves(queue)]
        waiting = sum(n for _, n in queues)
        # the last jobs are shared out: nobody claims ahead what another worker could start now
        want = min(want, max(1, waiting // max(1, connection.execute(Q.count_workers).fetchone()[0])))
        found: list[tuple[object, ...]] = []
        for queue, _ in queues:
            found += connection.execute(Q.ready_in_queue, {"queue": queue, "limit": want}).fetchall()
        if len(queues) > 1:
            found.sort(key=lambda row: (-row[6], row[0]))  # type: ignore[operator]  # priority down, then the older
        found = found[:want]
        ids = json.dumps(list({row[-1] for row in found}))
        recorded = rows.parse_environments(connection.execute(Q.environments_of_claimed, {"ids": ids}))
        leases = [rows.lease_from_row(row, os.urandom(16).hex(), recorded) for row in found]
        claimed = [(lease.token, self.worker, self.host, now, lease.seq) for lease in leases]
        run_for_rows(connection, Q.open_attempt, claimed)
        run_for_rows(connection, Q.take_job, claimed)
        return leases, waiting - len(leases)

    def _serves(self, queue: str) -> bool:
        return not self.queues or queue in self.queues

    def has_ready_jobs(self, now: float) -> bool:
        """Tell, without writing, whether a claim would find something."""
        with self.db.read() as connection:
            due = connection.execute(Q.next_due).fetchone()
            if due is not None and due[0] <= now:
                return True
            return any(
                connection.execute(Q.best_ready_priority, {"queue": queue}).fetchone()
                for queue, _ in connection.execute(Q.queues_with_work).fetchall()
                if self._serves(queue)
            )

    def count_ready(self, limit: int, now: float) -> int:
        """Return, without writing, how many jobs could start now, counted up to ``limit``."""
        with self.db.read() as connection:
            found = 0
            for queue, _ in connection.execute(Q.queues_with_work).fetchall():
                if self._serves(queue) and found < limit:
                    found += connection.execute(Q.ready_count, {"queue": queue, "limit": limit - found}).fetchone()[0]
            due: int = connection.execute(Q.due_count, {"now": now, "limit": max(0, limit - found)}).fetchone()[0]
            return found + due

    def next_due(self) -> float | None:
        """Return the epoch second at which the next scheduled job is due; None where none is."""
        with self.db.read() as connection:
            row = connection.execute(Q.next_due).fetchone()
        return row[0] if row else None

    def preempted(self, leases: Sequence[Lease]) -> list[Lease]:
        """Return those of the unstarted ``leases`` that must not start any more.

        Cancelled or lost ones, those of a queue paused since, and all of them when a better job is ready now.
        """
        with self.db.read() as connection:
            for queue, _ in connection.execute(Q.queues_with_work).fetchall():
                if self._serves(queue):
                    best = connection.execute(Q.best_ready_priority, {"queue": queue}).fetchone()
                    if best and best[0] > leases[0].priority:
                        return list(leases)
            seqs = json.dumps([lease.seq for lease in leases])
            wanted = {token for (token,) in connection.execute(Q.still_wanted, {"seqs": seqs})}
        return [lease for lease in leases if lease.token not in wanted]

    def owns(self, lease: Lease) -> bool:
        """Tell whether the attempt is still this worker's."""
        with self.db.read() as connection:
            return connection.execute(Q.held_job, (lease.seq, lease.token)).fetchone() is not None

    def cancel_requests(self) -> set[str]:
        """Return the tokens of this worker's attempts that a person wants ended."""
        with self.db.read() as connection:
            return {token for _, token in connection.execute(Q.cancels_of_worker, {"worker": self.worker})}

    def count_unfinished(self) -> int:
        """Return how many jobs of this worker's queues are not at rest, waiting ones of paused queues aside."""
        with self.db.read() as connection:
            queues = json.dumps(sorted(self.queues))
            found: int = connection.execute(Q.open_elsewhere_unpaused, {"queues": queues}).fetchone()[0]
            return found

    def held_leases(self) -> list[HeldLease]:
        """Return what the worker holds; whoever settles in a lost worker's place asks with that one's name."""
        with self.db.read() as connection:
            return [HeldLease(*row) for row in connection.execute(Q.held_by_worker, {"worker": self.worker})]
