"""Retry policy: how many attempts, and the delay between them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["RetryPolicy"]


class RetryPolicy(NamedTuple):
    """Exponential backoff: ``base ** attempt`` seconds, at most ``cap``, reduced at random by up to ``jitter``.

    Parameters
    ----------
    max_retries
        Maximum number of attempts, including the first.
    base, cap
        Base of the power, and the maximum delay in seconds.
    jitter
        0 to 1: up to this fraction of the delay is subtracted at random, so that jobs that failed together are not
        retried together ("full jitter" at 1; M. Brooker, *Exponential Backoff And Jitter*, AWS 2015).
    """

    max_retries: int = 3
    base: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.0

    def delay(self, attempt: int, rand: float = 0.0) -> float:
        """Return the delay in seconds after attempt number ``attempt`` (from 1); ``rand`` is in [0, 1).

        A power too large for a float gives the cap.

        >>> [RetryPolicy().delay(n) for n in (1, 2, 3)]
        [2.0, 4.0, 8.0]
        >>> RetryPolicy(base=1000).delay(10**6)
        3600.0
        """
        try:
            wait = float(self.base) ** attempt
        except OverflowError:
            wait = self.cap
        return min(wait, self.cap) * (1.0 - self.jitter * rand)

    def exhausted(self, attempts: int) -> bool:
        """Return True if no attempts are left."""
        return attempts >= self.max_retries
