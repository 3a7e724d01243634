"""The wait before the next attempt."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model.retry import RetryPolicy
from queuectl_nb.model.settings import SETTINGS


def _within(key: str) -> st.SearchStrategy[float]:
    row = SETTINGS[key]
    return st.floats(row.low, row.high, allow_nan=False)


_policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(1, 1000),
    base=_within("backoff_base"),
    cap=_within("backoff_max"),
    jitter=_within("backoff_jitter"),
)
_attempts = st.one_of(st.integers(1, 1000), st.integers(1, 10**9))
_rand = st.floats(0, 1, exclude_max=True)


@given(_policies, _attempts, _rand)
def test_a_wait_is_a_number_between_nothing_and_the_cap(policy: RetryPolicy, attempt: int, rand: float) -> None:
    """Whatever the settings allow, no wait overflows, is negative, or is longer than ``backoff_max``."""
    wait = policy.delay(attempt, rand)
    assert math.isfinite(wait)
    assert 0 <= wait <= policy.cap


@given(st.floats(1, 1000), _within("backoff_max"), st.integers(1, 10**6))
def test_waits_never_shrink_without_jitter(base: float, cap: float, attempt: int) -> None:
    """Without jitter a later attempt waits at least as long as the one before it."""
    policy = RetryPolicy(base=base, cap=cap)
    assert policy.delay(attempt) <= policy.delay(attempt + 1)


@given(_policies, _attempts, _rand)
def test_jitter_only_takes_off_its_share(policy: RetryPolicy, attempt: int, rand: float) -> None:
    """Jitter shortens a wait by no more than its share, and never makes it longer."""
    whole = RetryPolicy(policy.max_retries, policy.base, policy.cap).delay(attempt)
    wait = policy.delay(attempt, rand)
    assert whole * (1 - policy.jitter) - 1e-9 * whole <= wait <= whole


def test_the_wait_after_attempt_n_is_base_to_the_n() -> None:
    """With the default settings the waits are 2, 4 and 8 seconds; the tenth is still the power, the 12th the cap."""
    policy = RetryPolicy()
    assert [policy.delay(n) for n in (1, 2, 3, 10, 12)] == [2, 4, 8, 1024, 3600]


@given(st.integers(1, 1000), st.integers(0, 2000))
def test_a_budget_is_used_up_at_max_retries(max_retries: int, attempts: int) -> None:
    """A budget of n attempts is exhausted by the n-th, not before."""
    assert RetryPolicy(max_retries).exhausted(attempts) == (attempts >= max_retries)
