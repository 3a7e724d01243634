"""What an estimate of the time left depends on: earlier attempts, running and waiting jobs, and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.retry import RetryPolicy

__all__ = ["MIN_PROGRESS", "Ended", "RunningJob", "WaitingJob", "Workload"]

MIN_PROGRESS = 0.03
"""A smaller reported progress says too little about the rest of a run."""


class Ended(NamedTuple):
    """A finished attempt: its run time, whether it failed, and whether it was the first one of its job."""

    seconds: float
    failed: bool = False
    first: bool = True
    before: float | None = None
    """The run time of the attempt before it."""
    numbers: tuple[float, ...] = ()
    """Those of the command or call: :mod:`.parameters` finds how the run time depends on them."""


class RunningJob(NamedTuple):
    """A running attempt; ``worker`` is an index into the workers, None if that takes no further jobs."""

    work: str
    elapsed_s: float
    worker: int | None
    queue: str = "default"
    progress: float | None = None
    timeout_s: float | None = None
    attempts_left: int = 0
    """Attempts after this one."""
    first: bool = True
    before: float | None = None
    """The run time of the attempt before it, as in the following classes."""
    selected: bool = True
    id: str = ""
    numbers: tuple[float, ...] = ()
    factor: float = 1.0
    """How much longer than others it runs."""


class WaitingJob(NamedTuple):
    """A waiting job that represents ``weight`` jobs."""

    work: str
    order: tuple[float, float]
    """Jobs start in ascending order."""
    queue: str = "default"
    weight: float = 1
    due_s: float = 0
    attempts_left: int = 1
    before: float | None = None
    selected: bool = True
    id: str = ""
    after: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    factor: float = 1.0


class Workload(NamedTuple):
    """Everything that the estimate depends on; every work in ``history`` has at least one attempt."""

    history: Mapping[str, Sequence[Ended]]
    running: Sequence[RunningJob]
    waiting: Sequence[WaitingJob]
    workers: Sequence[frozenset[str]]
    """The queues of each worker; empty for all."""
    limits: Mapping[str, int]
    policy: RetryPolicy
