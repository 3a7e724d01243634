"""Several jobs: those of one enqueue, or of a selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from queuectl_nb.client.card_display import CardDisplay
from queuectl_nb.client.job import Job

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from queuectl_nb.client.eta import Eta
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.state import State
    from queuectl_nb.render.card_parts import Rendering
    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.keys import Resumed

__all__ = ["Batch", "describe_resumed"]

_MAX_IDS_SHOWN = 3


class Batch(CardDisplay, Sequence[Job]):
    """The jobs of one enqueue in the order of their rows, or of a selection, as a sequence.

    Store ``ids`` in the frame (``frame["job_id"] = batch.ids``) to let ``Queue.results`` find the jobs of its rows.
    """

    def __init__(self, queue: Queue, ids: Sequence[str], resumed: Resumed | None = None) -> None:
        """Refer to the jobs ``ids`` of ``queue``; ``resumed`` says how many were kept, retried and enqueued."""
        self._queue = queue
        self.ids = list(ids)
        self.resumed = resumed

    @overload
    def __getitem__(self, index: int) -> Job: ...

    @overload
    def __getitem__(self, index: slice) -> Batch: ...

    def __getitem__(self, index: int | slice) -> Job | Batch:
        """Return a job, or a slice as a batch."""
        if isinstance(index, slice):
            return Batch(self._queue, self.ids[index])
        return Job(self._queue, self.ids[index])

    def __len__(self) -> int:
        """Return the number of jobs."""
        return len(self.ids)

    def results(self, timeout: float | str | None = None, *, return_exceptions: bool = False) -> list[Any]:
        """Wait until the jobs have finished and return their values in order, one per call.

        The first exception is raised; with ``return_exceptions`` exceptions are in the list. Raises ``WaitTimeout``
        after ``timeout`` seconds.
        """
        from queuectl_nb.client import value

        __tracebackhide__ = True
        if self.ids:
            self._queue.wait(self, timeout=timeout)
        return value.read_results(self, self._queue.store, return_exceptions=return_exceptions)

    def wait(self, timeout: float | str | None = None, *, check: bool = False) -> dict[State, int]:
        """Wait until the jobs have finished; return their number by state.

        Raises ``WaitTimeout`` after ``timeout`` seconds and, with ``check``, ``JobFailed`` if a job did not complete.
        """
        return self._queue.wait(self, timeout=timeout, check=check)

    def jobs(self) -> pd.DataFrame:
        """Return the jobs as a DataFrame in their order, without deleted ones; see ``Queue.jobs``."""
        from queuectl_nb.render.frames import frames

        found = frames.jobs(self._queue.store.reader, self._filter())
        return found.loc[[job_id for job_id in self.ids if job_id in found.index]]

    def eta(self) -> Eta:
        """Return the estimated time until the jobs have finished; see ``Queue.eta``."""
        from queuectl_nb.client.eta import read_eta

        return read_eta(self._queue.store, self._filter())

    def errors(self) -> pd.DataFrame:
        """Return why jobs failed, grouped by reason; see ``Queue.errors``."""
        from queuectl_nb.render.frames import frames
        from queuectl_nb.store.error_groups import read_error_groups

        return frames.error_groups(read_error_groups(self._queue.store.db, self._filter()))

    def cancel(self, *, dry_run: bool = False) -> list[str]:
        """Cancel the jobs that have not finished, wait until running ones have stopped, and return their ids.

        With ``dry_run`` nothing is changed.
        """
        return self._queue._cancel(self._filter(), dry_run=dry_run)  # noqa: SLF001 - counts for its next wait, too

    def retry(self, *, error: str | None = None, dry_run: bool = False) -> list[str]:
        """Run the jobs that did not complete again now, and return their ids.

        ``error`` is the key of a group in :meth:`errors`; then only its jobs. With ``dry_run`` nothing is changed.
        """
        return self._queue._retry("retry", self._filter(error), dry_run=dry_run)  # noqa: SLF001 - the same

    def _filter(self, error: str | None = None) -> Filter:
        from queuectl_nb.store.job_filter import Filter

        return Filter(ids=tuple(self.ids), error=error)

    def __add__(self, others: Iterable[Job]) -> list[Job]:
        return [*self, *others]

    def __radd__(self, others: Iterable[Job]) -> list[Job]:
        return [*others, *self]

    def __eq__(self, other: object) -> bool:
        """Compare like a list, also with a list."""
        return list(self) == list(other) if isinstance(other, Batch | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like a list

    def __str__(self) -> str:
        """Return what a resumed enqueue has done, such as ``97 kept, 2 retried, 1 enqueued``."""
        return repr(self) if self.resumed is None else describe_resumed(self.resumed)

    def __repr__(self) -> str:
        names = self.ids if len(self.ids) <= _MAX_IDS_SHOWN else [self.ids[0], "…", self.ids[-1]]
        return f"<Batch of {len(self.ids)} jobs: {', '.join(names)}>" if names else "<Batch of 0 jobs>"

    def _facts(self) -> list[str]:
        """Return what the enqueue has done, if it was resumed, for the card."""
        return [] if self.resumed is None else [describe_resumed(self.resumed)]

    _repr_pretty_ = CardDisplay._repr_pretty_  # IPython prefers __repr__ to an inherited one

    def _read_card(self, *, static: bool) -> Rendering:
        from queuectl_nb.client.batch_card import BatchReader
        from queuectl_nb.render.batch_card import batch_card

        return batch_card(BatchReader(self).view()._replace(facts=self._facts()), static=static)


def describe_resumed(resumed: Resumed) -> str:
    """Return what was kept, retried and enqueued as text."""
    counts = {"kept": resumed.kept, "retried": resumed.retried, "enqueued": resumed.enqueued}
    text = ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "nothing to do"
    return f"{text}; the source has changed since earlier jobs, which count as other work" if resumed.changed else text
