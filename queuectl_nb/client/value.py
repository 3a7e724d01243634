"""Values and exceptions of finished jobs: the only module that loads pickles of Python jobs outside of jobs."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.child.blob import open_blob
from queuectl_nb.child.payload import Arguments
from queuectl_nb.client.logs import Logs
from queuectl_nb.model.call import Kind
from queuectl_nb.model.errors import JobFailed, NotFound
from queuectl_nb.model.escape_sequences import SEQUENCE
from queuectl_nb.model.state import State
from queuectl_nb.store.calls import executed_notebook, load_call, read_calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from queuectl_nb.client.job import Job
    from queuectl_nb.store.calls import StoredValue
    from queuectl_nb.store.store import Store

__all__ = [
    "JobCancelled",
    "RemoteTraceback",
    "call_results",
    "read_exception",
    "read_failure",
    "read_result",
    "read_results",
]

ERROR_LINES = 10
ERROR_BYTES = 64 * 1024
"""Maximum size of these lines."""


class JobCancelled(JobFailed, CancelledError):
    """The job whose value was asked for is cancelled."""


class RemoteTraceback(Exception):
    """The traceback of an exception in the process of a job, as text, and the id of the job."""

    def __str__(self) -> str:
        text, job_id = self.args
        return f"in job {job_id}\n{text.rstrip()}"


class _CallOutcome(NamedTuple):
    """The value of a call, or the exception that it raised."""

    value: Any = None
    error: BaseException | None = None


def read_result(job: Job, store: Store) -> Any:
    """Return the value of a finished job, a list of values if it packs several calls; or raise its exception."""
    __tracebackhide__ = True  # IPython and pytest leave out this frame
    outcomes, chunk = _read_outcomes(job, store)
    for each in outcomes:
        if each.error is not None:
            raise each.error
    return [each.value for each in outcomes] if chunk else outcomes[0].value


def read_exception(job: Job, store: Store) -> BaseException | None:
    """Return the exception of a finished job; None if it completed. Raise :class:`JobCancelled`."""
    if job.record.state is State.CANCELLED:
        raise _failure(job, store)
    if job.record.state is State.COMPLETED:
        return None
    return next((each.error for each in _read_outcomes(job, store)[0] if each.error is not None), None)


def read_results(jobs: Iterable[Job], store: Store, *, return_exceptions: bool) -> list[Any]:
    """Return the values of the calls of finished jobs, in order; raise the first exception, or return all of them."""
    __tracebackhide__ = True
    outcomes = [outcome for job in jobs for outcome in _read_outcomes(job, store)[0]]
    if not return_exceptions:
        for each in outcomes:
            if each.error is not None:
                raise each.error
    return [each.value if each.error is None else each.error for each in outcomes]


def _read_outcomes(job: Job, store: Store) -> tuple[list[_CallOutcome], bool]:
    """Return the outcomes of a job's calls, and whether it is one of ``chunksize`` calls."""
    record = job.record
    completed = record.state is State.COMPLETED
    if record.kind in {Kind.COMMAND, Kind.NOTEBOOK}:
        if not completed:
            return [_CallOutcome(error=_failure(job, store))], False
        is_notebook = record.kind == Kind.NOTEBOOK
        return [_CallOutcome(executed_notebook(store.db, job.id) if is_notebook else record.result)], False
    calls = read_calls(store.db, job.id)
    found = {each.call: _load(job, store, each) for each in calls.stored}
    missing = _CallOutcome(error=_failure(job, store)) if len(found) < calls.number else _CallOutcome()
    return [found.get(call, missing) for call in range(calls.number)], calls.chunk


def _load(job: Job, store: Store, stored: StoredValue) -> _CallOutcome:
    what = f"the {'exception' if stored.raised else 'value'} of job {job.id}"
    if stored.error is not None:
        return _CallOutcome(error=JobFailed(f"{what} {stored.error}"))
    if stored.pickle is None and stored.path is None:  # the exception cannot be pickled
        return _CallOutcome(error=_failure(job, store))
    try:
        if stored.path is None:
            value = pickle.loads(stored.pickle or b"")
        else:
            with open_blob(stored.path) as file:  # a large value is not in memory twice
                value = pickle.load(file)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's class
        if isinstance(error, OSError) and error.filename == stored.path is not None:
            return _CallOutcome(error=JobFailed(f"{what} cannot be read: {error.filename}: {error.strerror}"))
        failed = JobFailed(f"{what} cannot be unpickled here: {type(error).__name__}: {error}")
        failed.__cause__ = error
        return _CallOutcome(error=failed)
    if not stored.raised:
        return _CallOutcome(value)
    exception, text = value
    exception.__cause__ = RemoteTraceback(text, job.id)
    return _CallOutcome(error=exception)


def read_failure(job: Job, store: Store) -> JobFailed:
    """Return the error of a dead or cancelled job: its reason and the last lines of its log."""
    attempts = store.reader.attempts_without_output(job.id)
    ending = Logs(store).read_ending(attempts[-1], ERROR_BYTES) if attempts else b""
    lines = ending.decode("utf-8", "replace").rstrip().split("\n")[-ERROR_LINES:] if ending else []
    lines = [SEQUENCE.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in lines]  # may be shown on a terminal
    return JobFailed("\n".join([f"job {job.id} is {job.record.state}: {job.record.error}", *lines]))


def _failure(job: Job, store: Store) -> JobFailed:
    """Return the error of a job that has no value, and no exception of its own."""
    state = job.record.state
    if state not in {State.DEAD, State.CANCELLED}:
        return JobFailed(f"job {job.id} has no value: it was stored by another version")
    error = read_failure(job, store)
    return JobCancelled(*error.args) if state is State.CANCELLED else error


class _ShownArguments(Arguments):
    """Loads arguments with the ids of jobs in place of their values."""

    def value_of(self, ids: Sequence[str], *, single: bool) -> Any:
        return ids[0] if single else list(ids)


def call_results(store: Store, jobs: Iterable[Job]) -> pd.DataFrame | None:
    """Return a row for each call or notebook: its parameters, the job's state, run time and memory, and the value.

    None if a job is of another kind. Loads the pickles of arguments and values.
    """
    from queuectl_nb.render.frames import frames

    parameters: list[dict[str, Any]] = []
    ids: list[str] = []
    values: list[Any] = []
    for job in jobs:
        try:
            if job.record.kind not in {Kind.FUNCTION, Kind.NOTEBOOK}:
                return None
            rows = _rows(store, job)
            found = read_results([job], store, return_exceptions=True) if job.done() else [None] * len(rows)
        except NotFound:  # it was deleted
            rows, found = [{}], [None]
        parameters += rows
        ids += [job.id] * len(rows)
        values += [None if isinstance(value, BaseException) else value for value in found]
    return frames.results(store.reader, _parameter_frame(parameters), ids, values)


def _parameter_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return arguments as columns; of integers beside None, nullable ones, which pandas would make floats."""
    import pandas as pd

    frame = pd.DataFrame(rows)
    for name in frame.columns[frame.dtypes == "float64"]:
        values = [row.get(name) for row in rows]
        if pd.api.types.infer_dtype(values, skipna=True) == "integer":
            frame[name] = pd.array(values, dtype="Int64")
    return frame


def _rows(store: Store, job: Job) -> list[dict[str, Any]]:
    """Return the arguments of each call; nothing if a job among them was deleted."""
    try:
        return list(_parameters(store, job))
    except LookupError:
        return [{}] * read_calls(store.db, job.id).number


def _parameters(store: Store, job: Job) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each call by the names of the parameters; None for one that cannot be loaded."""
    payload = load_call(store.db, job.record)
    if notebook := payload.get("notebook"):
        yield json.loads(notebook["parameters"])
        return
    arguments, names = _ShownArguments(payload), payload["parameters"]
    for positional, keywords in payload["calls"]:
        items = {names[n] if n < len(names) else f"argument {n + 1}": item for n, item in enumerate(positional)}
        row = {}
        for name, item in {**items, **keywords}.items():
            try:
                row[name] = arguments.load(item)
            except (Exception, SystemExit):  # noqa: BLE001 - of the user's class
                row[name] = None
        yield row
