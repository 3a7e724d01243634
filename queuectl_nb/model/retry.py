"""How long to wait before the next attempt."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["RetryPolicy"]


class RetryPolicy(NamedTuple):
    """Exponential backoff: ``base ** attempt`` seconds, at most ``cap``, shortened by a random share ``jitter``.

    Parameters
    ----------
    max_retries
        Attempts in all, the first one included.
    base, cap
        Base of the power, and the longest wait in seconds.
    jitter
        0 to 1: the share of the wait that chance may take off, so that jobs which failed together
        do not come back together ("full jitter" at 1; M. Brooker, *Exponential Backoff And Jitter*, AWS 2015).
    """

    max_retries: int = 3
    base: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.0

    def delay(self, attempt: int, rand: float = 0.0) -> float:
        """Return the seconds to wait after attempt number ``attempt`` (from 1); ``rand`` is in [0, 1).

        Never overflows: a power too large for a float is the cap.

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
        """Tell whether ``attempts`` used ones leave no further attempt."""
        return attempts >= self.max_retries
