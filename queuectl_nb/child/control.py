"""What a function that runs as a job can use: the job it belongs to, and exceptions that control retries."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import NamedTuple, SupportsFloat

__all__ = ["CurrentJob", "GiveUp", "Retry", "current_job", "report"]


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
    artifacts: Path
    """The folder whose files are kept with this attempt."""


def current_job() -> CurrentJob | None:
    """Return the job that this process belongs to; None outside of a job."""
    try:
        return CurrentJob(
            os.environ["QUEUECTL_JOB_ID"],
            int(os.environ["QUEUECTL_ATTEMPT"]),
            int(os.environ["QUEUECTL_MAX_RETRIES"]),
            Path(os.environ["QUEUECTL_ARTIFACTS"]),
        )
    except (KeyError, ValueError):
        return None


def report(
    *, progress: SupportsFloat | None = None, step: SupportsFloat | None = None, **metrics: SupportsFloat | None
) -> None:
    """Report how far the job is, and numbers that views draw while it runs; outside of a job nothing happens.

    >>> report(progress=0.3, loss=0.21, step=7)

    Parameters
    ----------
    progress
        From 0 to 1.
    step
        What the numbers belong to, for example an epoch.
    metrics
        Numbers, also of numpy and torch; None is recorded as missing.

    Raises
    ------
    TypeError
        A value is not a number.
    """
    line: dict[str, float | None] = {"time": time.time()}
    for name, value in {"progress": progress, "step": step, **metrics}.items():
        if value is not None or name in metrics:
            line[name] = _number(name, value)
    if (path := os.environ.get("QUEUECTL_METRICS")) is None:
        return
    try:  # a full disk must not end the job
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return
    try:
        os.write(handle, json.dumps(line).encode() + b"\n")
    except OSError:
        return
    finally:
        os.close(handle)


def _number(name: str, value: object) -> float | None:
    if value is None:
        return None
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        msg = f"{name} must be a number, not {value!r:.80}"
        raise TypeError(msg) from None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
