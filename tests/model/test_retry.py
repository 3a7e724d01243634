"""The delay before the next attempt."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model.retry import RetryPolicy
from queuectl_nb.model.settings import SETTINGS, Settings


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
def test_delay_bounds(policy: RetryPolicy, attempt: int, rand: float) -> None:
    """For all valid settings the delay is finite, not negative and at most ``backoff_max``."""
    wait = policy.delay(attempt, rand)
    assert math.isfinite(wait)
    assert 0 <= wait <= policy.cap


@given(st.floats(1, 1000), _within("backoff_max"), st.integers(1, 10**6))
def test_delays_do_not_decrease(base: float, cap: float, attempt: int) -> None:
    """Without jitter each delay is at least as long as the previous one."""
    policy = RetryPolicy(base=base, cap=cap)
    assert policy.delay(attempt) <= policy.delay(attempt + 1)


@given(_policies, _attempts, _rand)
def test_jitter(policy: RetryPolicy, attempt: int, rand: float) -> None:
    """Jitter shortens a delay by at most its fraction and never lengthens it."""
    whole = RetryPolicy(policy.max_retries, policy.base, policy.cap).delay(attempt)
    wait = policy.delay(attempt, rand)
    assert whole * (1 - policy.jitter) - 1e-9 * whole <= wait <= whole


def test_default_delays() -> None:
    """With the defaults the delays are 2, 4 and 8 seconds; the 10th is still the power, the 12th the maximum."""
    policy = RetryPolicy()
    assert [policy.delay(n) for n in (1, 2, 3, 10, 12)] == [2, 4, 8, 1024, 3600]


@given(st.integers(1, 1000), st.integers(0, 2000))
def test_exhausted(max_retries: int, attempts: int) -> None:
    """A budget of n attempts is exhausted by the n-th, not before."""
    assert RetryPolicy(max_retries).exhausted(attempts) == (attempts >= max_retries)


def test_defaults() -> None:
    """Without arguments the policy is that of the default settings."""
    assert RetryPolicy() == Settings.from_stored({}).retry_policy(None)
    assert RetryPolicy(jitter=1.0).delay(1) == 2.0
