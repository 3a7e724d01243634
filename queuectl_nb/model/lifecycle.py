"""The transition of a job when its attempt ends, as a pure function of the outcome."""

from __future__ import annotations

from typing import NamedTuple

from queuectl_nb.model.outcome import Cancelled, Exited, NotStarted, Outcome, Raised, Returned
from queuectl_nb.model.retry import RetryPolicy
from queuectl_nb.model.state import State

__all__ = ["Transition", "settle"]


class Transition(NamedTuple):
    """A job's new state, the attempts used, and when it may run again (epoch seconds or None)."""

    state: State
    attempts: int
    run_at: float | None = None
    error: str | None = None
    reason: str | None = None
    """Why the job is dead, for the worker's output."""


def settle(
    outcome: Outcome,
    *,
    attempts: int,
    policy: RetryPolicy,
    cancel_requested: bool,
    now: float,
    rand: float,
    error: str | None = None,
) -> Transition:
    """Return the transition of a job whose attempt ended with ``outcome``.

    Parameters
    ----------
    attempts
        Attempts used, including this one.
    policy
        The job's current retry policy.
    cancel_requested
        A cancel was requested while it ran. A command that still exited with 0 is ``completed``.
    now, rand
        Epoch seconds, and a number in [0, 1) for the jitter.
    error
        Why it failed; by default the error of the outcome.

    Returns
    -------
    Transition
        ``completed``; ``cancelled``; ``pending`` at no cost (returned); ``dead`` if no attempts are left, or if the
        outcome is final; otherwise ``failed`` with the next ``run_at``.
    """
    if isinstance(outcome, Exited) and not outcome.code:
        return Transition(State.COMPLETED, attempts)
    if cancel_requested or isinstance(outcome, Cancelled):
        return Transition(State.CANCELLED, attempts, error=Cancelled.error)
    if isinstance(outcome, Returned):
        return Transition(State.PENDING, attempts - 1, run_at=now)
    error = error or outcome.error
    if isinstance(outcome, NotStarted | Raised) and outcome.final:
        used = attempts - isinstance(outcome, NotStarted)
        return Transition(State.DEAD, used, error=error, reason="It cannot succeed")
    if policy.exhausted(attempts):
        return Transition(State.DEAD, attempts, error=error, reason="Max retries reached")
    delay = outcome.retry_after if isinstance(outcome, Raised) else None
    run_at = now + (policy.delay(attempts, rand) if delay is None else delay)
    return Transition(State.FAILED, attempts, run_at=run_at, error=error)
