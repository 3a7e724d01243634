"""A job of a queue."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.card_display import CardDisplay
from queuectl_nb.client.logs import Logs
from queuectl_nb.model.displayed_command import displayed_command
from queuectl_nb.model.errors import BadEnvironment, NotFound, QueuectlError
from queuectl_nb.model.job import JOB_FIELDS, JobRecord, natural_key
from queuectl_nb.model.state import State
from queuectl_nb.model.validation import parse_choice, parse_int
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    import pandas as pd

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.render.card_parts import Rendering

__all__ = ["Job", "JobRemoved", "QueueRemoved"]

_ATTRIBUTES = frozenset((*JobRecord._fields, "is_finished"))


class JobRemoved(NotFound, AttributeError):
    """The job was deleted. An ``AttributeError``, so that ``hasattr`` and tools that inspect objects work."""


class QueueRemoved(BadEnvironment, AttributeError):
    """The file of the queue cannot be read. An ``AttributeError`` for the same reason."""


@contextmanager
def _attribute_errors() -> Iterator[None]:
    """Raise :class:`NotFound` and :class:`BadEnvironment` as errors that are also an ``AttributeError``."""
    try:
        yield
    except (NotFound, BadEnvironment) as error:
        raise (JobRemoved if isinstance(error, NotFound) else QueueRemoved)(*error.args) from None


class Job(CardDisplay):
    """One job of a queue; awaitable.

    The JSON fields (``state``, ``attempts``, ``exit_code`` …) are attributes with their current values; times are epoch
    seconds. A finished job keeps its last values when it, or its file, is deleted.
    """

    def __init__(self, queue: Queue, job_id: str) -> None:
        """Refer to the job ``job_id`` of ``queue``; its record is read when first needed."""
        self._queue = queue
        self._record: JobRecord | None = None
        self._version: tuple[int, ...] | None = None
        self.id = job_id

    @property
    def queue_path(self) -> Path:
        """The file of its queue."""
        return self._queue.path

    @property
    def record(self) -> JobRecord:
        """The current record; times in epoch seconds."""
        # read again if the job runs, or anything was committed (a check takes 10 µs)
        record = self._record
        try:
            with _attribute_errors():  # the version belongs to the connection, and so to the thread
                changes = (threading.get_ident(), *self._queue.store.db.change_counters())
                if record is None or record.state is State.PROCESSING or changes != self._version:
                    record = self._read()
                    self._version = changes
        except (NotFound, BadEnvironment):
            if record is None or not record.is_finished:
                raise
        return record

    def refresh(self) -> Job:
        """Read the job again and return it; raise ``NotFound`` if it was deleted."""
        self._read()
        return self

    def _read(self) -> JobRecord:
        self._record = self._queue.store.jobs.get(self.id)
        return self._record

    @property
    def state(self) -> State:
        """The current state."""
        return self.record.state

    def done(self) -> bool:
        """Return True if the job has finished: completed, dead or cancelled."""
        return self.record.is_finished

    def result(self, timeout: float | str | None = None) -> Any:
        """Wait until the job has finished and return its value.

        The value is what the function returned; of a cell, that of its last expression; of a command, the JSON that it
        wrote to ``$QUEUECTL_RESULT``, or None; of a notebook, the path of the executed notebook, or None if it was not
        kept. Raises what the function raised, with the traceback from the job as ``__cause__``; ``JobFailed`` if the
        job is dead for another reason, such as a timeout; ``JobCancelled`` if it is cancelled; ``WaitTimeout`` after
        ``timeout`` seconds; the job then continues.
        """
        from queuectl_nb.client import value

        __tracebackhide__ = True
        self._wait_silently(timeout)
        return value.read_result(self, self._queue.store)

    def exception(self, timeout: float | str | None = None) -> BaseException | None:
        """Wait until the job has finished and return what :meth:`result` would raise; None if it completed.

        Raises ``JobCancelled`` if the job is cancelled, and ``WaitTimeout`` like :meth:`result`.
        """
        from queuectl_nb.client import value

        self._wait_silently(timeout)
        return value.read_exception(self, self._queue.store)

    def __getitem__(self, name: str) -> Any:
        """Return a variable that the cell has assigned, once the job has finished; each call unpickles it again.

        Raises ``NotFound`` until the job has finished; also a ``KeyError`` if it was not assigned or cannot be pickled.
        """
        from queuectl_nb.client import cell_outputs

        return cell_outputs.read_variable(self, self._queue.store, name)

    __iter__ = None  # it has items, but is not a sequence

    def variables(self) -> pd.DataFrame:
        """Return the variables that the cell has assigned: type, size of the pickle in bytes, and why it has none.

        Also those of a cell that has failed. Nothing is unpickled.
        """
        from queuectl_nb.client import cell_outputs

        return cell_outputs.list_variables(self, self._queue.store)

    def display(self) -> None:
        """Display what the latest attempt of the cell showed: text, figures, tables and other outputs."""
        from queuectl_nb.client import cell_outputs

        cell_outputs.display_outputs(self, self._queue.store)

    def _wait_silently(self, timeout: float | str | None) -> None:
        if not self.record.is_finished:
            self._queue.wait(self, timeout=timeout, show=lambda _: None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if isinstance(getattr(type(self), name, None), property):  # it has raised JobRemoved: again
            return object.__getattribute__(self, name)
        if name not in _ATTRIBUTES:  # before the job is read: it may be gone
            raise AttributeError(f"a job has no attribute {name!r}; 'to_dict()' shows its fields")
        return getattr(self.record, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *JOB_FIELDS})

    def to_dict(self) -> dict[str, Any]:
        """Return the job as a JSON object."""
        from queuectl_nb.render.json_shapes import job_json

        return job_json(self.record)

    @property
    def history(self) -> list[AttemptRecord]:
        """All attempts, oldest first."""
        with _attribute_errors():
            return self._queue.store.reader.attempts(self.id)

    def log(self, stream: str | None = None, *, attempt: int | None = None, tail: int | None = None) -> str:
        """Return the output of an attempt (default: the latest) as text; a notebook shows its end, with colours.

        ``stream`` is ``"stdout"`` or ``"stderr"``, by default both, one after the other; ``tail`` is the number of last
        lines of each to return. Raises ``NotFound`` if there is no such attempt, and ``BadInput`` for an invalid value,
        or if the text takes more than 256 MiB, and for a moment as much again: with an emoji, four bytes a character.
        """
        if stream is not None:
            parse_choice("stream", stream, STREAMS)
        lines = None if tail is None else parse_int("tail", tail, 0)
        logs = Logs(self._queue.store)
        found = logs.attempt(self.id, None if attempt is None else parse_int("attempt", attempt, 1))
        from queuectl_nb.render.cards import LogText

        return LogText("" if found is None else logs.read_text(found, [stream] if stream else STREAMS, lines))

    @property
    def artifacts(self) -> dict[str, Path]:
        """The artifacts of the newest attempt that has any, by name; of a running attempt, those so far.

        Empty if there are none.
        """
        from queuectl_nb.client.artifacts import find_artifacts, paths_by_name

        with _attribute_errors():
            return paths_by_name(find_artifacts(self._queue.store, self.id))

    def edit(self, **changes: Any) -> Job:
        """Change fields of the job that has not finished, see :meth:`.Queue.edit`; return it."""
        self._queue.edit(self.id, **changes)
        return self.refresh()

    @property
    def edits(self) -> list[dict[str, Any]]:
        """The changes made by :meth:`edit`, oldest first: ``at`` in epoch seconds, and old and new values by field."""
        from queuectl_nb.store.edit import read_edits

        with _attribute_errors():
            return read_edits(self._queue.store.db, self.id)

    def cancel(self) -> Job:
        """Cancel the job, stopping its processes if it is running; return it."""
        self._queue.cancel(self.id)
        return self.refresh()

    def retry(self) -> Job:
        """Run the job again now; return it."""
        self._queue.retry(self.id)
        return self.refresh()

    def delete(self) -> None:
        """Delete the job and its history."""
        self._queue.delete(self.id)

    def wait(self, timeout: float | str | None = None, *, check: bool = False) -> Job:
        """Wait until the job has finished and return it; a notebook shows its progress.

        Raises ``WaitTimeout`` (a ``TimeoutError``) after ``timeout`` seconds; the job continues. With ``check``, raises
        ``JobFailed`` with the last lines of the log unless the job completed.
        """
        from queuectl_nb.client.wait_display import wait_for_job

        self._record = wait_for_job(self._queue, self.id, timeout)
        if check:
            self.check()
        return self

    def check(self) -> None:
        """Raise :class:`JobFailed` with the error and the last lines of the log if the job is dead or cancelled."""
        if self.state in (State.DEAD, State.CANCELLED):
            from queuectl_nb.client import value

            raise value.read_failure(self, self._queue.store)

    def __await__(self) -> Generator[Any, None, Job]:
        """Wait without blocking the event loop; the result is the finished job."""
        from queuectl_nb.client import async_wait

        self._record = yield from async_wait.wait_finished(self._queue, self.id).__await__()
        return self

    def __eq__(self, other: object) -> bool:
        """Compare as equal if both refer to the same job of the same file."""
        return isinstance(other, Job) and (self.id, self._queue.path) == (other.id, other._queue.path)

    def __lt__(self, other: object) -> bool:
        """Sort by file and id, with numbers in an id by their value."""
        if not isinstance(other, Job):
            return NotImplemented
        first, second = ((str(job.queue_path), natural_key(job.id), job.id) for job in (self, other))
        return first < second

    def __hash__(self) -> int:
        return hash((self.id, self._queue.path))

    def __repr__(self) -> str:
        try:
            record = self._read()
        except NotFound:
            return f"<Job {self.id}: removed>"
        except QueuectlError as error:
            return f"<Job {self.id}: {error}>"
        return f"<Job {record.id}: {record.state}, {displayed_command(record.command)[:60]!r}>"

    _repr_pretty_ = CardDisplay._repr_pretty_  # IPython prefers __repr__ to an inherited one

    def _mark(self) -> dict[str, Any]:
        from queuectl_nb.client.display_hook import make_mark

        return make_mark(self._queue, self.id)

    def _read_card(self, *, static: bool) -> Rendering:
        from queuectl_nb.client.job_card import read_card

        return read_card(self._queue.store, self._read(), static=static)

    def __reduce__(self) -> tuple[type[Job], tuple[Queue, str]]:
        return Job, (self._queue, self.id)
