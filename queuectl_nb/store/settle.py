"""How an attempt ends in the database: its result recorded, or its claim undone.

Every write is fenced by the attempt's token: a result that comes too late changes no row.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.lifecycle import Transition, revert_claim, settle
from queuectl_nb.model.outcome import Exited, Outcome, Signalled
from queuectl_nb.model.state import FINISHED_STATES, WAITING_STATES, State, check_transition
from queuectl_nb.store import sets
from queuectl_nb.store.dependencies import cancel_waiting, update_dependents
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.attempt import Ending, Lease
    from queuectl_nb.model.retry import RetryPolicy
    from queuectl_nb.model.settings import Settings

__all__ = ["EndedAttempt", "HeldLease", "StartedAttempt", "record_ended", "record_start", "release_claim"]

LARGE_OUTPUT_BYTES = 64 * 1024
"""Bytes of output beyond which an attempt's streams are written by themselves."""
_WAS_NEW, _WAS_FAILED = 0, 2
"""Values of ``attempts.undo``: no attempt is remembered with the job; it waited for a retry."""


class HeldLease(NamedTuple):
    """What a lost worker held: enough of its :class:`Lease` to settle it in its place."""

    seq: int
    job_id: str
    number: int
    token: str


class EndedAttempt(NamedTuple):
    """An attempt that is over, waiting to be recorded."""

    lease: Lease | HeldLease
    outcome: Outcome
    ending: Ending


class StartedAttempt(NamedTuple):
    """An attempt that runs on: its process, its true start (epoch seconds), its host where that is not the worker's."""

    lease: Lease
    pid: int | None
    started_at: float
    host: str | None = None


def record_ended(
    connection: sqlite3.Connection, ended: Sequence[EndedAttempt], settings: Settings, now: float, rand: float
) -> tuple[list[Transition | None], int]:
    """Record the ends of attempts and what follows from them for their jobs and for those that wait for them.

    All rows of a statement go to SQLite in one call: with a call for each, a third of a short job's time here was
    spent between Python and SQLite.

    Returns
    -------
    (list of Transition or None, int)
        What became of each job, None where the result came too late; and how many jobs wait for nothing any more.
    """
    if not ended:
        return [], 0
    places = json.dumps([each.lease.seq for each in ended])
    held = {token: facts for token, *facts in connection.execute(Q.held_jobs, (places,))}
    policies = {limit: settings.retry_policy(limit) for _, limit, _ in held.values()}
    went = [_decide(each, held.get(each.lease.token), policies, now, rand) for each in ended]
    in_time = [(each, transition) for each, transition in zip(ended, went, strict=True) if transition is not None]
    sets.run_for_rows(connection, Q.settle_job, [_job_row(each, transition, now) for each, transition in in_time])
    sets.run_for_rows(connection, Q.close_attempt, [_attempt_row(each) for each, _ in in_time])
    for each, _ in in_time:
        if _is_large(each.ending):
            connection.execute(Q.keep_streams, _streams(each))
    woken = 0
    if in_time and connection.execute(Q.any_dependents).fetchone():
        for each, transition in in_time:
            if transition.state in FINISHED_STATES:
                woken += update_dependents(connection, each.lease.seq, each.lease.job_id, transition.state, now)
    return went, woken


def _decide(
    each: EndedAttempt, facts: Sequence[Any] | None, policies: Mapping[int | None, RetryPolicy], now: float, rand: float
) -> Transition | None:
    """Decide what follows; None where the attempt is not held any more and its result comes too late."""
    if facts is None:
        return None
    lease, outcome, _ = each
    attempts, max_retries, cancel = facts
    transition = settle(
        outcome,
        attempts=attempts,
        policy=policies[max_retries],
        cancel_requested=bool(cancel),
        now=now,
        rand=rand,
    )
    check_transition(lease.job_id, State.PROCESSING, transition.state)
    return transition


def _job_row(each: EndedAttempt, went: Transition, now: float) -> tuple[object, ...]:
    """Return the parameters of ``settle_job``."""
    lease, outcome, ending = each
    completed = went.state is State.COMPLETED
    return (
        f"{went.state}",  # its value: the property that gives it takes ten times as long
        int(went.state in WAITING_STATES and (went.run_at or now) <= now),
        went.attempts,
        went.run_at,
        now,
        ending.started_at,
        ending.finished_at,
        outcome.code if isinstance(outcome, Exited) else None,
        went.error or (ending.note if completed else None),
        ending.result if completed else None,
        lease.seq,
        lease.token,
    )


def _is_large(ending: Ending) -> bool:
    """Tell whether so much output is kept that a copy of it would show in a worker's memory."""
    return ending.stdout_size + ending.stderr_size > LARGE_OUTPUT_BYTES


def _streams(each: EndedAttempt) -> dict[str, object]:
    """Return the parameters of ``keep_streams``."""
    lease, _, ending = each
    kept = {key: getattr(ending, key) for key in ("stdout", "stdout_tail", "stderr", "stderr_tail")}
    return {**kept, "seq": lease.seq, "number": lease.number, "token": lease.token}


def _attempt_row(each: EndedAttempt) -> tuple[object, ...]:
    """Return the parameters of ``close_attempt``; much output is left out, for ``keep_streams``."""
    lease, outcome, ending = each
    usage = ending.usage
    if _is_large(ending):
        ending = ending._replace(stdout="", stdout_tail=None, stderr="", stderr_tail=None)
    return (
        ending.finished_at,
        ending.started_at,
        ending.pid,
        ending.host,
        outcome.name,
        outcome.code if isinstance(outcome, Exited) else None,
        outcome.signal if isinstance(outcome, Signalled) else None,
        outcome.error or ending.note,
        usage.user_cpu_s,
        usage.system_cpu_s,
        usage.max_rss_bytes,
        ending.stdout_size,
        ending.stderr_size,
        ending.stdout,
        ending.stdout_tail,
        ending.stderr,
        ending.stderr_tail,
        lease.seq,
        lease.number,
        lease.token,
    )


def release_claim(connection: sqlite3.Connection, lease: Lease | HeldLease, now: float) -> None:
    """Undo the claim of an attempt that never started; a cancel that came meanwhile takes effect."""
    row = connection.execute(Q.held_claim, {"seq": lease.seq, "token": lease.token}).fetchone()
    if row is None:
        return
    attempts, cancelled, undo = row
    went = revert_claim(attempts, State.FAILED if undo == _WAS_FAILED else State.PENDING)
    check_transition(lease.job_id, State.PROCESSING, went.state)
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
        cancel_waiting(connection, [lease.seq], "cancelled by a person", now)
        update_dependents(connection, lease.seq, lease.job_id, State.CANCELLED, now)


def record_start(connection: sqlite3.Connection, started: StartedAttempt) -> None:
    """Record where and since when an attempt runs that goes on."""
    lease, pid, started_at, host = started
    values = {"seq": lease.seq, "number": lease.number, "token": lease.token}
    values |= {"pid": pid, "started_at": started_at, "host": host}
    connection.execute(Q.attempt_is_running, values)
    connection.execute(Q.job_is_running, values)
