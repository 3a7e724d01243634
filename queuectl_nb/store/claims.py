"""A worker's turn at the database: record what ended, give back what will not start, claim what comes next.

All in one transaction, since a commit costs more than all of its statements. Every write is fenced by the
attempt's token: a result that comes too late changes no row.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.lifecycle import Transition, give_back, settle
from queuectl_nb.model.outcome import Exited, Outcome, Signalled
from queuectl_nb.model.state import AT_REST, State, check_move
from queuectl_nb.store import rows
from queuectl_nb.store.dependents import release
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from queuectl_nb.model.attempt import Ending, Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.connection import Database

__all__ = ["Claims", "Ended", "Held", "Turn"]

_WAS_NEW, _WAS_FAILED = 0, 2
"""Values of ``attempts.undo``: no attempt is remembered with the job; it waited for a retry."""


class Held(NamedTuple):
    """What a lost worker held: enough of its :class:`Lease` to settle it in its place."""

    seq: int
    job_id: str
    number: int
    token: str


class Ended(NamedTuple):
    """An attempt that is over, waiting to be recorded."""

    lease: Lease | Held
    outcome: Outcome
    ending: Ending


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn brought: a transition for each ended attempt (None: too late), and the leases claimed."""

    settled: list[Transition | None]
    leases: list[Lease]
    waiting: int
    """Jobs that still wait in the queues looked at, an upper bound."""
    woken: int
    """Jobs that wait for nothing any more now that others completed."""


class Claims:
    """The claiming and settling side of a queue, for the worker ``worker`` on ``host``."""

    def __init__(self, db: Database, worker: str, host: str, queues: Sequence[str] = ()) -> None:
        """Work on ``db`` for the given worker; ``queues`` empty means all."""
        self.db = db
        self.worker = worker
        self.host = host
        self.queues = frozenset(queues)
        self._woken = 0

    def turn(  # noqa: PLR0913 - one transaction's whole input
        self,
        *,
        ended: Sequence[Ended] = (),
        back: Sequence[Lease | Held] = (),
        want: int = 0,
        running: tuple[Lease, int | None, float] | None = None,
        settings: Settings,
        now: float,
        rand: float,
    ) -> Turn:
        """Record ``ended``, give ``back``, and claim up to ``want`` jobs, in one transaction.

        ``running`` is the attempt that runs on, with its pid and its true start: recorded once it has lasted a while.
        """
        with self.db.write() as connection:
            self._woken = 0
            settled = [self._settle(connection, each, settings, now, rand) for each in ended]
            done = sum(transition is not None for transition in settled)
            if done:
                connection.execute(Q.count_done, {"worker": self.worker, "n": done})
            for lease in back:
                self._give_back(connection, lease, now)
            if running is not None:
                self._record_start(connection, *running)
            leases, waiting = self._claim(connection, want, now) if want else ([], 0)
        return Turn(settled, leases, waiting, self._woken)

    def _settle(
        self, connection: sqlite3.Connection, each: Ended, settings: Settings, now: float, rand: float
    ) -> Transition | None:
        lease, outcome, _ = each
        row = connection.execute(Q.held_job, {"seq": lease.seq, "token": lease.token}).fetchone()
        if row is None:
            return None
        attempts, max_retries, cancel, job_id = row
        transition = settle(
            outcome,
            attempts=attempts,
            policy=settings.retry_policy(max_retries),
            cancel_requested=bool(cancel),
            now=now,
            rand=rand,
        )
        check_move(job_id, State.PROCESSING, transition.state)
        self._write(connection, each, transition, now)
        if transition.state in AT_REST:
            self._woken += release(connection, lease.seq, job_id, transition.state, now)
        return transition

    @staticmethod
    def _write(connection: sqlite3.Connection, each: Ended, transition: Transition, now: float) -> None:
        lease, outcome, ending = each
        seq, number, token = lease.seq, lease.number, lease.token
        exit_code = outcome.code if isinstance(outcome, Exited) else None
        ready = transition.state in (State.PENDING, State.FAILED) and (transition.run_at or now) <= now
        connection.execute(
            Q.settle_job,
            {
                "seq": seq,
                "token": token,
                "state": transition.state.value,
                "ready": int(ready),
                "attempts": transition.attempts,
                "run_at": transition.run_at,
                "now": now,
                "started_at": ending.started_at,
                "finished_at": ending.finished_at,
                "exit_code": exit_code,
                "error": transition.error or (ending.note if transition.state is State.COMPLETED else None),
                "result": ending.result if transition.state is State.COMPLETED else None,
            },
        )
        connection.execute(
            Q.close_attempt,
            {
                "seq": seq,
                "number": number,
                "token": token,
                "finished_at": ending.finished_at,
                "started_at": ending.started_at,
                "pid": ending.pid,
                "outcome": outcome.name,
                "exit_code": exit_code,
                "signal": outcome.signal if isinstance(outcome, Signalled) else None,
                "error": outcome.error or ending.note,
                "user_cpu_s": ending.usage.user_cpu_s,
                "system_cpu_s": ending.usage.system_cpu_s,
                "max_rss_bytes": ending.usage.max_rss_bytes,
                "stdout_size": ending.stdout_size,
                "stderr_size": ending.stderr_size,
                "stdout": ending.stdout,
                "stdout_tail": ending.stdout_tail,
                "stderr": ending.stderr,
                "stderr_tail": ending.stderr_tail,
            },
        )

    @staticmethod
    def _give_back(connection: sqlite3.Connection, lease: Lease | Held, now: float) -> None:
        """Undo the claim of an attempt that never started; a cancel that came meanwhile takes effect."""
        row = connection.execute(Q.held_claim, {"seq": lease.seq, "token": lease.token}).fetchone()
        if row is None:
            return
        attempts, cancelled, undo = row
        went = give_back(attempts, State.FAILED if undo == _WAS_FAILED else State.PENDING)
        check_move(lease.job_id, State.PROCESSING, went.state)
        connection.execute(
            Q.give_back_job,
            {
                "seq": lease.seq,
                "token": lease.token,
                "state": went.state.value,
                "attempts": went.attempts,
                "facts": undo != _WAS_NEW,
                "now": now,
            },
        )
        connection.execute(Q.forget_attempt, {"seq": lease.seq, "number": lease.number, "token": lease.token})
        if cancelled:
            connection.execute(Q.cancel_waiting, {"seq": lease.seq, "error": "cancelled by a person", "now": now})
            release(connection, lease.seq, lease.job_id, State.CANCELLED, now)

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
        leases = [rows.lease(row, os.urandom(16).hex()) for row in found[:want]]
        for lease in leases:
            values = {"seq": lease.seq, "token": lease.token, "worker": self.worker, "host": self.host, "now": now}
            connection.execute(Q.open_attempt, values)
            connection.execute(Q.take_job, values)
        return leases, waiting - len(leases)

    def _serves(self, queue: str) -> bool:
        return not self.queues or queue in self.queues

    def anything_ready(self, now: float) -> bool:
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

    def next_due(self) -> float | None:
        """Return the epoch second at which the next scheduled job is due; None where none is."""
        with self.db.read() as connection:
            row = connection.execute(Q.next_due).fetchone()
        return row[0] if row else None

    def unwelcome(self, leases: Sequence[Lease]) -> list[Lease]:
        """Return those of the unstarted ``leases`` that must not start any more.

        Cancelled or lost ones, those of a queue paused since, and all of them when a better job is ready now.
        """
        with self.db.read() as connection:
            for queue, _ in connection.execute(Q.queues_with_work).fetchall():
                if self._serves(queue):
                    best = connection.execute(Q.best_ready_priority, {"queue": queue}).fetchone()
                    if best and best[0] > leases[0].priority:
                        return list(leases)
            bad = []
            for lease in leases:
                row = connection.execute(Q.wanted_back, {"seq": lease.seq, "token": lease.token}).fetchone()
                if row is None or row[1] or row[2]:
                    bad.append(lease)
            return bad

    def cancels(self) -> set[str]:
        """Return the tokens of this worker's attempts that a person wants ended."""
        with self.db.read() as connection:
            return {token for _, token in connection.execute(Q.cancels_of_worker, {"worker": self.worker})}

    @staticmethod
    def _record_start(connection: sqlite3.Connection, lease: Lease, pid: int | None, started_at: float) -> None:
        values = {"seq": lease.seq, "number": lease.number, "token": lease.token, "pid": pid, "started_at": started_at}
        connection.execute(Q.attempt_is_running, values)
        connection.execute(Q.job_is_running, values)

    def open_jobs(self) -> int:
        """Return how many jobs of this worker's queues are not at rest, waiting ones of paused queues aside."""
        with self.db.read() as connection:
            queues = json.dumps(sorted(self.queues))
            found: int = connection.execute(Q.open_elsewhere_unpaused, {"queues": queues}).fetchone()[0]
            return found

    def held(self) -> list[Held]:
        """Return what the worker holds; whoever settles in a lost worker's place asks with that one's name."""
        with self.db.read() as connection:
            return [Held(*row) for row in connection.execute(Q.held_by_worker, {"worker": self.worker})]
