"""What follows when an attempt ends: one pure function from outcome to transition."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.outcome import Cancelled, Exited, Outcome, Returned
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from queuectl_nb.model.retry import RetryPolicy

__all__ = ["Transition", "revert_claim", "settle"]


class Transition(NamedTuple):
    """Where a job goes: its new state, the budget used, and when it may run again (epoch seconds or None)."""

    state: State
    attempts: int
    run_at: float | None = None
    error: str | None = None
    reason: str | None = None
    """Why it went to the dead letter queue or will be retried; for the worker's line."""


def revert_claim(attempts: int, previous: State) -> Transition:
    """Return the transition of an attempt that never ran: as if it had not been claimed, ``before`` being its state."""
    return Transition(previous, attempts - 1)


def settle(  # noqa: PLR0913 - every fact that decides, by name, so that nothing is read from anywhere else
    outcome: Outcome,
    *,
    attempts: int,
    policy: RetryPolicy,
    cancel_requested: bool,
    now: float,
    rand: float,
) -> Transition:
    """Decide what becomes of a job whose attempt ended with ``outcome``.

    Parameters
    ----------
    attempts
        Used of the budget, the ended one included.
    policy
        The job's retry policy at this moment.
    cancel_requested
        A person asked for its end while it ran. A command that finished well before that is ``completed``.
    now, rand
        Epoch seconds, and a number in [0, 1) for the jitter.

    Returns
    -------
    Transition
        ``completed``; ``cancelled``; ``pending`` at once and at no cost (given back);
        ``dead`` when the budget is used up; else ``failed`` with the next ``run_at``.
    """
    if isinstance(outcome, Exited) and not outcome.code:
        return Transition(State.COMPLETED, attempts)
    if cancel_requested or isinstance(outcome, Cancelled):
        return Transition(State.CANCELLED, attempts, error=Cancelled.error)
    if isinstance(outcome, Returned):
        return Transition(State.PENDING, attempts - 1, run_at=now)
    if policy.exhausted(attempts):
        return Transition(State.DEAD, attempts, error=outcome.error, reason="Max retries reached")
    return Transition(State.FAILED, attempts, run_at=now + policy.delay(attempts, rand), error=outcome.error)
