"""Results of commands; the console and the notebook each present them in their own way.

Most have ``value``, a function that returns what the magic returns (a DataFrame, a ``Job``), and ``data``, one that
returns what ``--format json`` prints. Only what is used is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuectl_nb.commands.done import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.client.run import ForegroundJob
    from queuectl_nb.client.wait import Progress, Wait

    Serve = Callable[["Dashboard", Callable[[str], bool]], None]
    """Serves a dashboard until it is interrupted; calls the second argument with its address until it returns True."""


__all__ = [
    "Dashboard",
    "Data",
    "Detail",
    "Done",
    "Foreground",
    "Listing",
    "Output",
    "PendingWait",
    "Plotted",
    "Result",
    "StartedPool",
    "Stream",
    "Table",
    "Text",
    "as_data",
]


@dataclass(frozen=True)
class Table:
    """A table: titles, and rows of as many values."""

    titles: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Detail:
    """One object: blocks of text and tables for users, JSON as data, and ``records`` as rows for CSV."""

    blocks: Callable[[], Iterable[str | Table]]
    data: Callable[[], Any]
    value: Callable[[], Any]
    records: Callable[[], Iterable[Mapping[str, Any]]]
    hints: Callable[[], Sequence[str]] = tuple
    """Returns hints for users, for stderr; programs that read JSON or CSV get none."""
    notes: Sequence[str] = ()
    """Parts of the blocks that the value does not have: a notebook shows them above it."""


@dataclass(frozen=True)
class Listing:
    """A list of rows.

    ``rows(limit)`` returns JSON objects with the keys ``fields``. The table shows ``columns`` (title and key) of the
    first ``default_limit`` rows, or ``empty_text``. ``count()`` returns the number of all rows.
    """

    fields: Sequence[str]
    columns: Sequence[tuple[str, str]]
    rows: Callable[[int | None], Iterable[Mapping[str, Any]]]
    value: Callable[[], Any]
    count: Callable[[], int] | None = None
    default_limit: int | None = None
    empty_text: str = ""
    data: Callable[[], Any] | None = None
    """Set if the JSON is not the array of rows."""
    texts: Callable[[str], Iterable[str]] | None = None
    """Returns the JSON of each row, or its line of CSV for ``csv``, faster than from ``rows``."""
    exit_code: int = 0
    hints: Callable[[], Sequence[str]] = tuple
    """Returns hints for users, as in :class:`Detail`."""


@dataclass(frozen=True)
class Plotted:
    """A result with a plot, drawn by ``figure()`` into the file ``path``, or to be shown if that is empty."""

    answer: Detail | Listing
    figure: Callable[[], Figure]
    path: str


@dataclass(frozen=True)
class Output:
    """The output of a job: chunks of raw bytes with the name of their stream, with a header if ``with_header``.

    ``live`` chunks come as they are written, from both streams.
    """

    job_id: str
    state: str
    streams: Sequence[str]
    chunks: Callable[[], Iterator[tuple[str, bytes]]]
    data: Callable[[], Any]
    value: Callable[[], Any]
    with_header: bool
    live: bool
    number: int | None = None
    """The requested attempt, or None."""
    error: str | None = None
    """The error of the job, or of the requested attempt."""
    final_state: Callable[[], tuple[str, str | None]] | None = None
    """Returns state and error of the job after the last live chunk."""
    attempts: Sequence[int] = ()
    """The attempts of the live chunks so far, the current one last."""
    hints: Sequence[str] = ()
    """Why a job whose output is followed does not start."""


@dataclass(frozen=True)
class StartedPool:
    """A worker pool that was started."""

    pool: WorkerPool


@dataclass(frozen=True)
class Foreground:
    """A job that the caller follows until it has finished; ``added`` is the result of its enqueue."""

    job: ForegroundJob
    added: Done


@dataclass(frozen=True)
class PendingWait:
    """A wait that the caller runs and shows; afterwards it calls :meth:`Progress.check`."""

    wait: Wait
    notes: Sequence[str]

    def lines(self, progress: Progress) -> Sequence[str]:
        """Return the result of the wait as text."""
        if self.wait.ids == []:
            return ["No jobs match."]
        counts = ", ".join(f"{n} {state}" for state, n in progress.finished.items() if n)
        return [f"{progress.finished_count} job(s) finished{': ' if counts else ''}{counts}."]

    def data(self, progress: Progress) -> dict[str, Any]:
        """Return the result of the wait as JSON."""
        return {"counts": {str(state): n for state, n in progress.finished.items()}}


@dataclass(frozen=True)
class Stream:
    """Lines that are produced over time: ``run(write)`` writes each and returns the exit code."""

    run: Callable[[Callable[[str], object]], int]


@dataclass(frozen=True)
class Text:
    """Markdown text."""

    text: str


@dataclass(frozen=True)
class Dashboard:
    """A live view of a queue: a page at ``host`` and ``port``, or a widget.

    ``port`` None means the default port or the next free one, 0 any; ``open_browser`` opens the page in a browser.
    """

    queue: Queue
    port: int | None
    host: str
    open_browser: bool


Data = Done | Detail | Listing | Output
"""The results that can be shown in every format."""
Result = Data | Plotted | StartedPool | Foreground | PendingWait | Stream | Text | Dashboard


def as_data(result: Data, output_format: str) -> tuple[Any, Sequence[str]]:
    """Return what a format other than ``table`` shows of a result, and the columns of CSV, if they are fixed."""
    if isinstance(result, Listing) and (result.data is None or output_format == "csv"):
        return result.rows(None), result.fields
    if isinstance(result, Detail) and output_format == "csv":
        return list(result.records()), ()
    assert result.data is not None  # checked above for the type that may have none
    return result.data(), ()
