"""Settling: records how attempts ended, or undoes claims of attempts that never started.

Every write is fenced by the attempt's token: a late result changes no row.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.model.error_groups import group_of
from queuectl_nb.model.failure import describe, encodable, read_message
from queuectl_nb.model.lifecycle import Transition, settle
from queuectl_nb.model.outcome import Outcome, Signalled, exit_code
from queuectl_nb.model.state import FINISHED_STATES, WAITING_STATES, State, check_transition
from queuectl_nb.store.artifacts import record_artifacts
from queuectl_nb.store.boot_time import WALL_CLOCK_ONLY, BootTime
from queuectl_nb.store.dependencies import cancel_waiting, update_dependents
from queuectl_nb.store.queries import Q, run_for_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.attempt import Ending, Lease
    from queuectl_nb.model.error_groups import ErrorGroup
    from queuectl_nb.model.retry import RetryPolicy
    from queuectl_nb.model.settings import Settings

__all__ = [
    "EndedAttempt",
    "HeldLease",
    "StartedAttempt",
    "attempt_update",
    "explain",
    "job_update",
    "record_ended",
    "record_start",
    "release_claim",
]

LARGE_OUTPUT_BYTES = 64 * 1024
"""Larger output is written by a statement of its own, so that it is not copied once more."""
_WAS_NEW, _WAS_FAILED = 0, 2
"""Values of ``attempts.undo``: the job had no earlier attempt; the job was waiting for a retry."""


class HeldLease(NamedTuple):
    """The fields of a :class:`Lease` that are needed to settle it for a lost worker."""

    seq: int
    job_id: str
    number: int
    token: str
    pid: int | None = None
    """Process of the attempt; recorded once it has run for a few milliseconds."""


class EndedAttempt(NamedTuple):
    """An attempt that has ended and is not recorded yet."""

    lease: Lease | HeldLease
    outcome: Outcome
    ending: Ending
    error: str | None = None
    """Why it failed, once that was read from its output."""
    group: ErrorGroup | None = None


class StartedAttempt(NamedTuple):
    """A running attempt: its process, start time (epoch seconds), and host if it is not the worker's."""

    lease: Lease
    pid: int | None
    started_at: float
    host: str | None = None


def record_ended(
    connection: sqlite3.Connection,
    ended: Sequence[EndedAttempt],
    settings: Settings,
    now: float,
    rand: float,
    *,
    boottime: BootTime = WALL_CLOCK_ONLY,
) -> tuple[list[Transition | None], int]:
    """Record ended attempts, the new state of their jobs, and the effect on dependent jobs.

    The rows of a statement go to SQLite in one call: a call each took a third of a short job's time here.

    Returns
    -------
    (list of Transition or None, int)
        The transition of each job, None for a late result; and how many dependents were unblocked.
    """
    if not ended:
        return [], 0
    ended = [explain(each) for each in ended]
    seqs = json.dumps([each.lease.seq for each in ended])
    held = {token: facts for token, *facts in connection.execute(Q.held_jobs, (seqs,))}
    policies = {max_retries: settings.retry_policy(max_retries) for _, max_retries, _ in held.values()}
    transitions = [_decide(each, held.get(each.lease.token), policies, now, rand) for each in ended]
    in_time = [(each, found) for each, found in zip(ended, transitions, strict=True) if found is not None]
    run_for_rows(connection, Q.settle_job, [tuple(job_update(*each, now, boottime).values()) for each in in_time])
    run_for_rows(connection, Q.close_attempt, [tuple(attempt_update(each).values()) for each, _ in in_time])
    for each, _ in in_time:
        if _is_large(each.ending):
            connection.execute(Q.store_streams, _streams(each))
    if with_metrics := [each for each, _ in in_time if each.ending.metrics is not None]:
        from queuectl_nb.store.metrics import record_metrics

        record_metrics(connection, with_metrics)
    if with_artifacts := [each for each, _ in in_time if each.ending.artifacts is not None]:
        record_artifacts(connection, with_artifacts)
    if with_values := [each for each, _ in in_time if each.ending.values]:
        from queuectl_nb.store.calls import record_values

        record_values(connection, with_values)
    unblocked = 0
    if in_time and connection.execute(Q.any_dependents).fetchone():
        for each, transition in in_time:
            if transition.state in FINISHED_STATES:
                unblocked += update_dependents(
                    connection, each.lease.seq, each.lease.job_id, transition.state, now, boottime=boottime
                )
    return transitions, unblocked


def explain(attempt: EndedAttempt) -> EndedAttempt:
    """Add why an attempt failed; a worker does so before the transaction, while its next job runs."""
    lease, outcome, ending, error, _ = attempt
    if error is not None or outcome.error is None:
        return attempt
    message = read_message(outcome, ending)
    error = describe(outcome, message)
    return attempt if error is None else EndedAttempt(lease, outcome, ending, error, group_of(outcome, message, error))


def _decide(
    attempt: EndedAttempt,
    held: Sequence[Any] | None,
    policies: Mapping[int | None, RetryPolicy],
    now: float,
    rand: float,
) -> Transition | None:
    """Return the transition of the job; None if the attempt is no longer held: its result comes too late."""
    if held is None:
        return None
    attempts, max_retries, cancel = held
    transition = settle(
        attempt.outcome,
        attempts=attempts,
        policy=policies[max_retries],
        cancel_requested=bool(cancel),
        now=now,
        rand=rand,
        error=attempt.error,
    )
    check_transition(attempt.lease.job_id, State.PROCESSING, transition.state)
    return transition


def job_update(attempt: EndedAttempt, transition: Transition, now: float, boottime: BootTime) -> dict[str, object]:
    """Return a row of ``settle_job``."""
    lease, outcome, ending, _, group = attempt
    completed = transition.state is State.COMPLETED
    ready = transition.state in WAITING_STATES and (transition.run_at or now) <= now
    due_boottime = None
    if transition.run_at is not None and not ready and boottime.seconds is not None:
        due_boottime = boottime.seconds + (transition.run_at - now)
    return {
        "seq": lease.seq,
        "token": lease.token,
        "state": f"{transition.state}",  # ten times as fast as the property ``value``
        "ready": ready,
        "attempts": transition.attempts,
        "run_at": transition.run_at,
        "due_boottime": due_boottime,
        "updated_at": now,
        "started_at": ending.started_at,
        "finished_at": ending.finished_at,
        "exit_code": exit_code(outcome),
        "error": transition.error or (_encodable(ending.note) if completed else None),
        "error_key": group.key if group and transition.state in (State.FAILED, State.DEAD) else None,
        "result": ending.result if completed else None,
        "result_repr": _encodable(ending.result_repr),
    }


def attempt_update(attempt: EndedAttempt) -> dict[str, object]:
    """Return a row of ``close_attempt``, without large output, which ``store_streams`` writes."""
    lease, outcome, ending, error, group = attempt
    if _is_large(ending):
        ending = ending._replace(stdout="", stdout_tail=None, stderr="", stderr_tail=None)
    return {
        "seq": lease.seq,
        "number": lease.number,
        "token": lease.token,
        "outcome": outcome.name,
        "exit_code": exit_code(outcome),
        "signal": outcome.signal if isinstance(outcome, Signalled) else None,
        "error": error or _encodable(ending.note),
        "reason": group.reason if group else None,
        "error_key": group.key if group else None,
        "started_at": ending.started_at,
        "finished_at": ending.finished_at,
        "pid": ending.pid,
        "host": ending.host,
        "user_cpu_s": ending.usage.user_cpu_s,
        "system_cpu_s": ending.usage.system_cpu_s,
        "max_rss_bytes": ending.usage.max_rss_bytes,
        "stdout": ending.stdout,
        "stdout_tail": ending.stdout_tail,
        "stdout_size": ending.stdout_size,
        "stderr": ending.stderr,
        "stderr_tail": ending.stderr_tail,
        "stderr_size": ending.stderr_size,
    }


def _encodable(text: str | None) -> str | None:
    return None if text is None else encodable(text)


def _is_large(ending: Ending) -> bool:
    """Return True if copying the output would show in a worker's memory."""
    return ending.stdout_size + ending.stderr_size > LARGE_OUTPUT_BYTES


def _streams(attempt: EndedAttempt) -> dict[str, object]:
    """Return the parameters of ``store_streams``."""
    lease, ending = attempt.lease, attempt.ending
    streams = {key: getattr(ending, key) for key in ("stdout", "stdout_tail", "stderr", "stderr_tail")}
    return {**streams, "seq": lease.seq, "number": lease.number, "token": lease.token}


def release_claim(connection: sqlite3.Connection, lease: Lease | HeldLease, now: float) -> None:
    """Undo the claim of an attempt that never started; a cancel requested meanwhile takes effect."""
    row = connection.execute(Q.held_claim, {"seq": lease.seq, "token": lease.token}).fetchone()
    if row is None:
        return
    attempts, cancelled, undo = row
    previous = State.FAILED if undo == _WAS_FAILED else State.PENDING
    check_transition(lease.job_id, State.PROCESSING, previous)
    values = {"seq": lease.seq, "number": lease.number, "token": lease.token}
    job = {"state": previous.value, "attempts": attempts - 1, "restore": undo != _WAS_NEW, "now": now}
    connection.execute(Q.release_job, {**values, **job})
    connection.execute(Q.delete_attempt, values)
    if cancelled:
        cancel_waiting(connection, [lease.seq], "cancelled by a person", now)
        update_dependents(connection, lease.seq, lease.job_id, State.CANCELLED, now)


def record_start(connection: sqlite3.Connection, started: StartedAttempt) -> None:
    """Record the process, start time and host of an attempt that keeps running."""
    lease, pid, started_at, host = started
    values = {"seq": lease.seq, "number": lease.number, "token": lease.token}
    values |= {"pid": pid, "started_at": started_at, "host": host}
    connection.execute(Q.attempt_is_running, values)
    connection.execute(Q.job_is_running, values)
