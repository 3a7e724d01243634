"""The jobs of one enqueue in a user's hands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

from queuectl_nb.client.job import Job

if TYPE_CHECKING:
    from queuectl_nb.client.queue import Queue

__all__ = ["Batch"]

_MAX_IDS_SHOWN = 3


class Batch(Sequence[Job]):
    """Jobs in the order of their rows; used like a list, it makes each :class:`Job` when it is asked for.

    ``ids`` are their ids: put them into the frame (``frame["job_id"] = batch.ids``) and ``Queue.results`` knows the
    jobs of its rows for ever.
    """

    def __init__(self, queue: Queue, ids: Sequence[str]) -> None:
        """Hold the jobs ``ids`` of ``queue``."""
        self._queue = queue
        self.ids = list(ids)

    @overload
    def __getitem__(self, place: int) -> Job: ...

    @overload
    def __getitem__(self, place: slice) -> Batch: ...

    def __getitem__(self, place: int | slice) -> Job | Batch:
        """Return a job, or some of them as a batch."""
        if isinstance(place, slice):
            return Batch(self._queue, self.ids[place])
        return Job(self._queue, self.ids[place])

    def __len__(self) -> int:
        """Return the number of jobs."""
        return len(self.ids)

    def __iter__(self) -> Iterator[Job]:
        return (Job(self._queue, job_id) for job_id in self.ids)

    def __add__(self, others: Iterable[Job]) -> list[Job]:
        return [*self, *others]

    def __radd__(self, others: Iterable[Job]) -> list[Job]:
        return [*others, *self]

    def __eq__(self, other: object) -> bool:
        """Compare as a list of jobs does, with a list too."""
        return list(self) == list(other) if isinstance(other, Batch | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        names = self.ids if len(self.ids) <= _MAX_IDS_SHOWN else [self.ids[0], "…", self.ids[-1]]
        return f"<Batch of {len(self.ids)} jobs: {', '.join(names)}>" if names else "<Batch of 0 jobs>"
