"""What commands return: values that a face shows in its own way.

Most have ``value``, a function that gives what a notebook's user holds (a DataFrame, a ``Job``), and ``data``, one that
gives what ``--format json`` shows. A face pays only for what it uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuectl_nb.commands.ack import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.client.wait import Progress, Wait

    Serve = Callable[["Dashboard", Callable[[str], object]], None]
    """Opens a dashboard's page until it is interrupted; the second argument is told its address."""


__all__ = [
    "Dashboard",
    "Detail",
    "Done",
    "Listing",
    "Output",
    "PendingWait",
    "Plotted",
    "Result",
    "StartedPool",
    "Stream",
    "Table",
    "Text",
]


@dataclass(frozen=True)
class Table:
    """A table for people: titles, and rows of as many values."""

    titles: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Detail:
    """Something to look at as a whole: blocks of text and tables for people, one object as data.

    ``records`` are its rows where a flat table is asked for (CSV).
    """

    blocks: Callable[[], Iterable[str | Table]]
    data: Callable[[], Any]
    value: Callable[[], Any]
    records: Callable[[], Iterable[Mapping[str, Any]]]
    exit_code: int = 0


@dataclass(frozen=True)
class Listing:
    """Many rows of one kind.

    ``rows(limit)`` gives them as JSON objects with the keys ``fields``; ``columns`` are title and key for the table
    that people see, which shows the first ``short`` rows unless the user gave a limit; ``count()`` tells how many
    there are, and ``empty`` is said where there are none.
    """

    fields: Sequence[str]
    columns: Sequence[tuple[str, str]]
    rows: Callable[[int | None], Iterable[Mapping[str, Any]]]
    value: Callable[[], Any]
    count: Callable[[], int] | None = None
    default_limit: int | None = None
    empty_text: str = ""
    data: Callable[[], Any] | None = None
    """Where the JSON is no array of the rows."""
    exit_code: int = 0


@dataclass(frozen=True)
class Plotted:
    """An answer with a picture, drawn when ``figure`` is called: into the file ``path``, or (empty) to be seen."""

    answer: Detail | Listing
    figure: Callable[[], Figure]
    path: str


@dataclass(frozen=True)
class Output:
    """What a job wrote: pieces of raw bytes with the stream's name, in order; ``frame`` puts the headings around.

    ``live`` pieces come as they are written and change between the streams.
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
    """The attempt, where one was asked for."""
    error: str | None = None
    """Why the job, or the attempt that was asked for, did not end well."""
    final_state: Callable[[], tuple[str, str | None]] | None = None
    """State and error of the job once the live pieces are all."""
    attempts: Sequence[int] = ()
    """The attempts that live pieces have come from so far, the present one last."""


@dataclass(frozen=True)
class StartedPool:
    """A pool of workers that was started."""

    pool: WorkerPool
    count: int
    detach: bool


@dataclass(frozen=True)
class PendingWait:
    """A wait that the face carries out, showing the progress as it can; :meth:`Progress.check` ends it."""

    wait: Wait
    notes: Sequence[str]
    lines: Callable[[Progress], Sequence[str]]
    data: Callable[[Progress], Any]


@dataclass(frozen=True)
class Stream:
    """Lines that come as things happen; the exit code is known when they have ended."""

    lines: Iterator[str]
    exit_code: Callable[[], int]


@dataclass(frozen=True)
class Text:
    """A text to read, in Markdown."""

    text: str


@dataclass(frozen=True)
class Dashboard:
    """A live view of a queue, which the face opens: a page at ``host`` and ``port``, or a widget.

    ``port`` None is the usual one or the next free, 0 any; ``browse`` opens the page in a browser.
    """

    queue: Queue
    port: int | None
    host: str
    open_browser: bool


Result = Done | Detail | Listing | Plotted | Output | StartedPool | PendingWait | Stream | Text | Dashboard
