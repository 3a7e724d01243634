"""How an attempt ends in the database: its result recorded, or its claim undone.

Every write is fenced by the attempt's token: a result that comes too late changes no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.lifecycle import Transition, give_back, settle
from queuectl_nb.model.outcome import Exited, Outcome, Signalled
from queuectl_nb.model.state import AT_REST, State, check_move
from queuectl_nb.store.dependents import release
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3

    from queuectl_nb.model.attempt import Ending, Lease
    from queuectl_nb.model.settings import Settings

__all__ = ["Ended", "Held", "record", "record_start", "undo_claim"]

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


def record(
    connection: sqlite3.Connection, each: Ended, settings: Settings, now: float, rand: float
) -> tuple[Transition | None, int]:
    """Record the end of an attempt and what follows from it for the job and for those that wait for it.

    Returns
    -------
    (Transition or None, int)
        What became of the job, None where the result came too late; and how many jobs wait for nothing any more.
    """
    lease, outcome, _ = each
    row = connection.execute(Q.held_job, {"seq": lease.seq, "token": lease.token}).fetchone()
    if row is None:
        return None, 0
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
    _write(connection, each, transition, now)
    if transition.state not in AT_REST:
        return transition, 0
    return transition, release(connection, lease.seq, job_id, transition.state, now)


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


def undo_claim(connection: sqlite3.Connection, lease: Lease | Held, now: float) -> None:
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


def record_start(connection: sqlite3.Connection, lease: Lease, pid: int | None, started_at: float) -> None:
    """Record the pid and the true start of an attempt that runs on."""
    values = {"seq": lease.seq, "number": lease.number, "token": lease.token, "pid": pid, "started_at": started_at}
    connection.execute(Q.attempt_is_running, values)
    connection.execute(Q.job_is_running, values)
