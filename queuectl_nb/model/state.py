"""The seven states of a job, the transitions between them, and the states in which each action is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from queuectl_nb.model.errors import WrongState

__all__ = [
    "ALLOWED_STATES",
    "FINISHED_STATES",
    "TRANSITIONS",
    "UNFINISHED_STATES",
    "WAITING_STATES",
    "IllegalTransition",
    "State",
    "check_action",
    "check_transition",
]


class State(StrEnum):
    """The state of a job, in the order of the status summary."""

    PENDING = "pending"
    PROCESSING = "processing"
    FAILED = "failed"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"

    def __repr__(self) -> str:
        """Return the plain string's repr, for readable counts by state."""
        return repr(self.value)


FINISHED_STATES = frozenset({State.COMPLETED, State.DEAD, State.CANCELLED})
UNFINISHED_STATES = frozenset(State) - FINISHED_STATES
WAITING_STATES = frozenset({State.PENDING, State.FAILED})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.PROCESSING, State.CANCELLED, State.BLOCKED}),  # blocked: edited
    # back to pending or failed: the attempt was returned or its claim undone, at no cost
    State.PROCESSING: frozenset({State.COMPLETED, State.FAILED, State.DEAD, State.CANCELLED, State.PENDING}),
    State.FAILED: frozenset({State.PROCESSING, State.PENDING, State.CANCELLED, State.BLOCKED}),
    State.COMPLETED: frozenset({State.PENDING, State.BLOCKED}),
    State.DEAD: frozenset({State.PENDING, State.BLOCKED}),
    State.CANCELLED: frozenset({State.PENDING, State.BLOCKED}),
    State.BLOCKED: frozenset({State.PENDING, State.CANCELLED}),
}

ALLOWED_STATES: Mapping[str, frozenset[State]] = {
    "retry": frozenset({State.FAILED}) | FINISHED_STATES,
    "cancel": UNFINISHED_STATES,
    "edit": UNFINISHED_STATES,
    "delete": frozenset(State) - {State.PROCESSING},
    "dlq retry": frozenset({State.DEAD}),
    "dlq purge": frozenset({State.DEAD}),
}


class IllegalTransition(AssertionError):
    """A transition that is not in :data:`TRANSITIONS`: a bug, never a user's mistake."""


def check_transition(job_id: str, old: State, new: State) -> None:
    """Raise :class:`IllegalTransition` unless a job in state ``old`` may become ``new``.

    >>> check_transition("a", State.PENDING, State.PROCESSING)
    >>> check_transition("a", State.COMPLETED, State.FAILED)
    Traceback (most recent call last):
    ...
    queuectl_nb.model.state.IllegalTransition: job a is completed and cannot become failed; allowed: pending, blocked
    """
    allowed = TRANSITIONS[old]
    if new not in allowed:
        names = ", ".join(state for state in State if state in allowed)
        raise IllegalTransition(f"job {job_id} is {old} and cannot become {new}; allowed: {names}")


def check_action(action: str, job_id: str, state: State) -> None:
    """Raise :class:`WrongState` unless ``action`` (a key of :data:`ALLOWED_STATES`) is allowed in ``state``."""
    allowed = ALLOWED_STATES[action]
    if state not in allowed:
        names = ", ".join(each for each in State if each in allowed)
        raise WrongState(f"job {job_id} is {state}; '{action}' takes jobs that are {names}")
