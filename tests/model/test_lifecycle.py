"""The state that follows an attempt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model.lifecycle import Transition, settle
from queuectl_nb.model.outcome import (
    OUTCOME_NAMES,
    Cancelled,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Raised,
    Returned,
    Signalled,
    TimedOut,
)
from queuectl_nb.model.retry import RetryPolicy
from queuectl_nb.model.state import FINISHED_STATES, State, check_transition

FAILURES: list[Outcome] = [
    Exited(1),
    Exited(255),
    Signalled(11),
    TimedOut(30),
    NotStarted("no such directory"),
    Raised("ValueError: bad"),
    Lost("worker-1"),
    Lost("worker-1", "froze", may_overlap=True),
]
OUTCOMES: list[Outcome] = [Exited(0), *FAILURES, Cancelled(), Returned()]

_policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(1, 1000),
    base=st.floats(1, 1000),
    cap=st.floats(0, 2_592_000),
    jitter=st.floats(0, 1),
)
_moments = st.floats(1e9, 4e9)
_rand = st.floats(0, 1, exclude_max=True)


@given(st.sampled_from(OUTCOMES), _policies, st.integers(1, 1200), st.sampled_from([False, True]), _moments, _rand)
def test_settlements_are_legal(
    outcome: Outcome, policy: RetryPolicy, attempts: int, cancel: object, now: float, rand: float
) -> None:
    """Each settlement is a legal transition, and only returned attempts are not counted."""
    transition = settle(outcome, attempts=attempts, policy=policy, cancel_requested=bool(cancel), now=now, rand=rand)
    check_transition("a", State.PROCESSING, transition.state)
    is_returned = isinstance(outcome, Returned) and not cancel
    assert transition.attempts == attempts - is_returned
    assert (transition.run_at is None) == (transition.state in FINISHED_STATES)
    assert transition.run_at is None or now <= transition.run_at <= now + policy.cap


@given(st.sampled_from(FAILURES), _policies, _moments, _rand)
def test_max_retries(outcome: Outcome, policy: RetryPolicy, now: float, rand: float) -> None:
    """Exactly ``max_retries`` failures of a fresh budget lead to dead."""
    attempts, state, starts = 0, State.PENDING, 0
    while state not in FINISHED_STATES:
        attempts, starts = attempts + 1, starts + 1
        transition = settle(outcome, attempts=attempts, policy=policy, cancel_requested=False, now=now, rand=rand)
        attempts, state, now = transition.attempts, transition.state, transition.run_at or now
        assert starts <= policy.max_retries
    assert (state, starts) == (State.DEAD, policy.max_retries)
    assert transition.reason == "Max retries reached"
    assert transition.error == outcome.error


@given(st.lists(st.sampled_from([Returned(), Exited(1)]), max_size=30), st.integers(1, 12))
def test_returned_attempts_cost_nothing(endings: list[Outcome], max_retries: int) -> None:
    """A job is dead after ``max_retries`` failures, however many attempts were returned."""
    attempts, failures = 0, 0
    for outcome in endings:
        if failures == max_retries:
            break
        attempts += 1
        transition = settle(
            outcome, attempts=attempts, policy=RetryPolicy(max_retries), cancel_requested=False, now=1e9, rand=0
        )
        attempts, failures = transition.attempts, failures + isinstance(outcome, Exited)
        assert (transition.state is State.DEAD) == (failures == max_retries)
        assert attempts == failures


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_cancel(outcome: Outcome) -> None:
    """A job with a cancel request is ``cancelled`` after any outcome but success."""
    transition = settle(outcome, attempts=1, policy=RetryPolicy(), cancel_requested=True, now=1e9, rand=0)
    if outcome == Exited(0):
        assert transition == Transition(State.COMPLETED, 1)
    else:
        assert transition == Transition(State.CANCELLED, 1, error="cancelled by a person")


def test_backoff() -> None:
    """A first failure at 1000 s is due again at 1002 s; a returned attempt at once."""
    facts: dict[str, Any] = {"policy": RetryPolicy(), "cancel_requested": False, "now": 1000.0, "rand": 0.0}
    assert settle(Exited(3), attempts=1, **facts) == Transition(State.FAILED, 1, 1002.0, "exit code 3")
    assert settle(Returned(), attempts=2, **facts) == Transition(State.PENDING, 1, 1000.0)
    facts |= {"policy": RetryPolicy(jitter=0.5), "rand": 0.5}
    assert settle(Exited(3), attempts=1, **facts).run_at == 1001.5


@pytest.mark.parametrize(("outcome", "used"), [(Raised("bad", final=True), 2), (NotStarted("bad", final=True), 1)])
def test_final_outcomes(outcome: Outcome, used: int) -> None:
    """A job that cannot succeed is dead with attempts left; an attempt that could not start is not counted."""
    transition = settle(outcome, attempts=2, policy=RetryPolicy(5), cancel_requested=False, now=1e9, rand=0)
    assert transition == Transition(State.DEAD, used, None, outcome.error, "It cannot succeed")


@pytest.mark.parametrize("delay", [0.0, 90.0])
def test_delay_of_an_exception(delay: float) -> None:
    """An exception may set the delay before the next attempt, but grants no further attempt."""
    facts: dict[str, Any] = {"policy": RetryPolicy(2, jitter=1), "cancel_requested": False, "now": 1000.0, "rand": 0.5}
    outcome = Raised("bad", retry_after=delay)
    assert settle(outcome, attempts=1, **facts) == Transition(State.FAILED, 1, 1000 + delay, "bad")
    assert settle(outcome, attempts=2, **facts).state is State.DEAD


def test_error_that_was_found() -> None:
    """The error that was read from the output replaces that of the outcome."""
    facts: dict[str, Any] = {"attempts": 1, "cancel_requested": False, "now": 1000.0, "rand": 0.0}
    for policy in (RetryPolicy(1), RetryPolicy(2)):
        assert settle(Exited(1), policy=policy, error="exit code 1: no file", **facts).error == "exit code 1: no file"


def test_transition_without_further_facts() -> None:
    """What does not apply is None."""
    assert Transition(State.COMPLETED, 1) == (State.COMPLETED, 1, None, None, None)


def test_outcomes() -> None:
    """Each outcome has a documented name and, if something is wrong, a reason of one line."""
    assert {outcome.name for outcome in OUTCOMES} == set(OUTCOME_NAMES)
    for outcome in OUTCOMES:
        assert (outcome.error is None) == (outcome == Exited(0))
        assert outcome.error is None or "\n" not in outcome.error
    assert TimedOut(0.5).error == (
        "timed out after 0.5 seconds (raise it with --timeout, or 'queuectl config set timeout')"
    )
    assert TimedOut(0.5, setting=False).error == "timed out after 0.5 seconds (raise it with --timeout)"
    assert Signalled(11).signal == "SIGSEGV"
    assert Signalled(11).error == "killed by SIGSEGV"
    assert Signalled(50).signal == "SIG50"
    assert "may_overlap" in Lost("w", may_overlap=True).error
