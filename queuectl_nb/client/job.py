"""A job in a user's hands."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from queuectl_nb.client.logs import Logs
from queuectl_nb.model.errors import BadEnvironment, JobFailed, NotFound
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.state import State
from queuectl_nb.model.validation import parse_choice, parse_int
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import ModuleType

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.model.job import JobRecord

__all__ = ["Batch", "Job"]

ERROR_LINES = 10


class Job:
    """One job of a queue; awaitable.

    The fields of the contract (``state``, ``attempts``, ``exit_code`` …) are attributes, as they are now, times in
    epoch seconds. A job at rest that was removed, or whose file is gone, keeps what it was.
    """

    def __init__(self, queue: Queue, job_id: str, record: JobRecord | None = None) -> None:
        """Hold the job ``job_id`` of ``queue``; its record is read when it is first needed."""
        self._queue = queue
        self._record = record
        self._version: tuple[int, int, int] | None = None
        self.id = job_id

    @property
    def record(self) -> JobRecord:
        """The job's record at the last look; times in epoch seconds."""
        if self._record is None:
            self.refresh()
        assert self._record is not None  # noqa: S101 - refresh sets it or raises
        return self._record

    def refresh(self) -> Job:
        """Look again and return the job itself; raises ``NotFound`` when it was removed."""
        self._record = self._queue.store.jobs.get(self.id)
        return self

    def _current(self) -> JobRecord:
        """Return the record as it is now: read anew where anything was committed since (10 µs to ask)."""
        record = self._record
        try:
            # each thread counts the commits of others by its own connection
            changes = (threading.get_ident(), *self._queue.store.db.change_counters())
            if record is None or changes != self._version:
                record = self.refresh().record
                self._version = changes
        except (NotFound, BadEnvironment):
            if record is None or not record.is_finished:
                raise
        return record

    @property
    def state(self) -> State:
        """The job's state now."""
        return self._current().state

    @property
    def result(self) -> Any:
        """What the completed attempt wrote to ``$QUEUECTL_RESULT``, parsed; None where there is nothing (yet)."""
        now = self._current()
        return now.result if now.state is State.COMPLETED else None

    def __getattr__(self, name: str) -> Any:
        """Give the record's fields as attributes."""
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return getattr(self._current(), name)
        except AttributeError:
            msg = f"a job has no attribute {name!r}; 'to_dict()' shows its fields"
            raise AttributeError(msg) from None

    def __dir__(self) -> list[str]:
        """Show the record's fields to completion."""
        return sorted({*super().__dir__(), *JOB_FIELDS})

    def to_dict(self) -> dict[str, Any]:
        """Return the job as the contract's JSON object."""
        from queuectl_nb.render.json_shapes import job_json

        return job_json(self._current())

    @property
    def history(self) -> list[AttemptRecord]:
        """All attempts, oldest first."""
        return self._queue.store.reader.attempts(self.id)

    def log(self, stream: str | None = None, *, attempt: int | None = None, tail: int | None = None) -> str:
        """Return the output of an attempt (the newest unless given) as text.

        Parameters
        ----------
        stream
            ``"stdout"`` or ``"stderr"``; both, one after the other, when left out.
        attempt, tail
            The attempt's number, and how many last lines of each stream to keep.

        Raises
        ------
        BadInput
            No stream is called so, or a number cannot be one.
        NotFound
            The job has no such attempt.
        """
        if stream is not None:
            parse_choice("stream", stream, STREAMS)
        number = None if attempt is None else parse_int("attempt", attempt, 1)
        found = Logs(self._queue.store).read(self.id, number, None if tail is None else parse_int("tail", tail, 0))
        parts = {"stdout": found.stdout, "stderr": found.stderr}
        chosen = parts.values() if stream is None else [parts[stream]]
        return b"".join(chosen).decode("utf-8", "replace")

    def cancel(self) -> Job:
        """Cancel the job, ending its processes if it runs; return it."""
        self._queue.cancel(self.id)
        return self.refresh()

    def retry(self) -> Job:
        """Run the job again now; return it."""
        self._queue.retry(self.id)
        return self.refresh()

    def delete(self) -> None:
        """Remove the job and its history."""
        self._queue.delete(self.id)

    def wait(self, timeout: float | None = None, *, check: bool = False) -> Job:
        """Wait until the job is at rest and return it; a notebook's page shows meanwhile what it does.

        Parameters
        ----------
        timeout
            Seconds; raises ``WaitTimeout`` (a ``TimeoutError``) when they are over, the job goes on.
        check
            Raise ``JobFailed`` with the log's last lines unless the job completed.
        """
        from queuectl_nb.client import display

        display.run_with_progress(self._queue.start_wait([self.id], timeout))
        self.refresh()
        if check:
            self.check()
        return self

    def check(self) -> None:
        """Raise :class:`JobFailed` with the reason and the log's last lines if the job ended dead or cancelled."""
        if self.state in (State.DEAD, State.CANCELLED):
            lines = self.log("stderr", tail=ERROR_LINES) or self.log("stdout", tail=ERROR_LINES)
            msg = f"job {self.id} is {self.state}: {self.record.error}" + (f"\n{lines.rstrip()}" if lines else "")
            raise JobFailed(msg)

    def __await__(self) -> Generator[Any, None, Job]:
        """Wait without blocking the event loop; gives the job, at rest."""
        from queuectl_nb.client import async_wait
        from queuectl_nb.client.wait import UnreportedJobs

        yield from async_wait.wait_finished(self._queue.store, self.id).__await__()
        UnreportedJobs.for_store(self._queue.store).mark_reported([self.id])
        return self.refresh()

    def __eq__(self, other: object) -> bool:
        """Two handles are equal when they name the same job of the same file."""
        return isinstance(other, Job) and (self.id, self._queue.path) == (other.id, other._queue.path)

    def __hash__(self) -> int:
        """Hash as :meth:`__eq__` compares."""
        return hash((self.id, self._queue.path))

    def __repr__(self) -> str:
        try:
            record = self.refresh().record
        except NotFound:
            return f"<Job {self.id}: removed>"
        return f"<Job {record.id}: {record.state}, {record.command[:60]!r}>"

    def _ipython_display_(self) -> None:
        """Show a card that keeps itself current, where there is a page for it; IPython shows the rest as ever."""
        from queuectl_nb.client.display import new_output_cell

        spot = None if self._is_removed() or self.record.is_finished else new_output_cell()
        if spot is None:
            raise NotImplementedError
        from queuectl_nb.client.live_cards import LiveCard, card_updater

        card_updater.add(LiveCard(self._queue, self.id, spot))

    def _repr_html_(self) -> str | None:
        return None if self._is_removed() else self._cards().job_html(self.record, self._attempts())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self) if self._is_removed() else self._cards().job_text(self.record, self._attempts()))

    def _attempts(self) -> list[AttemptRecord]:
        return self._queue.store.reader.attempts_without_output(self.id)

    def _is_removed(self) -> bool:
        """Look again; tell whether the job was removed."""
        try:
            self.refresh()
        except NotFound:
            return True
        return False

    @staticmethod
    def _cards() -> ModuleType:
        from queuectl_nb.render import cards

        return cards

    def __reduce__(self) -> tuple[type[Job], tuple[Queue, str]]:
        """Pickle as the queue and the id."""
        return Job, (self._queue, self.id)


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
