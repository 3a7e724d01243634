"""What a function that runs as a job can use: the job it belongs to, and exceptions that control retries."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["CurrentJob", "GiveUp", "Retry", "current_job"]


class Retry(Exception):
    """Raised by a function to have the next attempt ``after`` seconds, instead of after the backoff."""

    def __init__(self, *args: object, after: float | None = None) -> None:
        """Take a message; ``after`` None keeps the backoff."""
        super().__init__(*args)
        if after is not None and not 0 <= after <= 36_500 * 86_400:
            msg = f"after must be 0 to 36500 days in seconds, not {after!r}"
            raise ValueError(msg)
        self.after = after

    def __reduce__(self) -> tuple[object, ...]:
        """Keep ``after`` when pickled."""
        return _make_retry, (self.args, self.after)


def _make_retry(args: tuple[object, ...], after: float | None) -> Retry:
    return Retry(*args, after=after)


class GiveUp(Exception):
    """Raised by a function to end its job as dead, without further attempts."""


class CurrentJob(NamedTuple):
    """The job that this process belongs to."""

    id: str
    attempt: int
    max_retries: int


def current_job() -> CurrentJob | None:
    """Return the job that this process belongs to; None outside of a job."""
    try:
        return CurrentJob(
            os.environ["QUEUECTL_JOB_ID"],
            int(os.environ["QUEUECTL_ATTEMPT"]),
            int(os.environ["QUEUECTL_MAX_RETRIES"]),
        )
    except (KeyError, ValueError):
        return None
