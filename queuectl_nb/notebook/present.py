"""What a cell gets for each kind of answer: a frame, a job, a pool, a log; or lines, where there is nothing to hold."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from queuectl_nb.commands.results import (
    Dashboard,
    Detail,
    Done,
    Listing,
    Output,
    PendingWait,
    Plotted,
    StartedPool,
    Stream,
    Text,
)
from queuectl_nb.model.errors import BadEnvironment, BadInput, JobFailed
from queuectl_nb.notebook import picture, progress
from queuectl_nb.notebook.log_view import LogView
from queuectl_nb.render import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.commands.results import Result

__all__ = ["present"]


def present(result: Result, shape: str) -> object:
    """Show an answer, and return what the user holds of it.

    ``--json`` gives the value that the console's JSON stands for; ``jsonl`` and ``csv`` are printed.
    """
    if isinstance(result, Plotted):
        picture.show(result)
        result = result.answer
    if shape == "table" or isinstance(result, StartedPool | Stream | Text | Dashboard):
        return _PRESENTED[type(result)](result)
    if isinstance(result, PendingWait):
        return _wait(result, shape)
    return _as_data(result, shape)


def _said(result: Done) -> object:
    """Return jobs and frames; say the rest, and what was done to no job at all."""
    for note in result.notes:
        sys.stderr.write(f"queuectl: {note}\n")
    value = result.value()
    if value is None or (hasattr(value, "empty") and value.empty):
        _write(result.lines)
    return value


def _shown(result: Detail) -> object:
    return result.value()


def _listing(result: Listing) -> object:
    found = result.value()
    if isinstance(found, list):  # what a doctor finds has no frame of its own
        import pandas as pd

        found = pd.DataFrame([dict(row) for row in result.rows(None)], columns=list(result.fields)).set_index(
            result.fields[0]
        )
    if not result.exit_code:
        return found
    from IPython.display import display

    display(found)  # type: ignore[no-untyped-call]
    wrong = [str(row[result.fields[0]]) for row in result.rows(None) if not row.get("ok", True)]
    msg = f"{len(wrong)} thing(s) wrong: {', '.join(wrong)}; each with its remedy above"
    raise BadEnvironment(msg)


def _output(result: Output) -> None:
    if result.live:
        progress.follow(result)
        return
    from IPython.display import display

    display(LogView.of(result))  # type: ignore[no-untyped-call]


def _running(result: StartedPool) -> WorkerPool:
    return result.pool


def _dashboard(result: Dashboard) -> object:
    if result.port is not None or result.open_browser:
        msg = "--port and --open are for the page that the console serves; in a notebook the dashboard is a widget"
        raise BadInput(msg)
    from queuectl_nb.notebook.dashboard.dashboard import Dashboard as Widget

    return Widget(result.queue)


def _stream(result: Stream) -> None:
    for line in result.lines:
        _write([line])
    if result.exit_code():
        msg = "not all of it came out as it should; see the lines above"
        raise JobFailed(msg)


def _prose(result: Text) -> None:
    from IPython.display import display

    # as it stands where there is no Markdown: in IPython's terminal
    display({"text/markdown": result.text, "text/plain": result.text}, raw=True)  # type: ignore[no-untyped-call]


def _wait(result: PendingWait, shape: str = "table") -> object:
    for note in result.notes:
        sys.stderr.write(f"queuectl: {note}\n")
    waited = progress.wait(result)
    if shape == "table":
        waited.check()
        return None
    found = _in_shape(result.data(waited), shape)
    waited.check()
    return found


def _as_data(result: Done | Detail | Listing | Output, shape: str) -> object:
    if shape == "csv" and isinstance(result, Listing):
        _csv(result.fields, result.rows(None))
        found = None
    elif shape == "csv" and isinstance(result, Detail):
        found = _in_shape(list(result.records()), shape)
    elif isinstance(result, Listing) and result.data is None:
        found = _in_shape(list(result.rows(None)), shape)
    else:
        assert result.data is not None  # noqa: S101 - only a listing may have none
        found = _in_shape(result.data(), shape)
    if isinstance(result, Detail | Listing) and result.exit_code:
        msg = "something is wrong; the answer says what"
        raise BadEnvironment(msg)
    return found


def _in_shape(value: Any, shape: str) -> Any:
    """Return a value as Python has it; or print it as lines or CSV."""
    if shape == "json":
        return value
    if shape == "csv":
        rows = list(formats.records_of(value))
        _csv(list(rows[0]) if rows else ["id"], rows)
        return None
    page = io.StringIO()
    formats.write_lines(page, value)
    sys.stdout.write(page.getvalue())
    return None


def _csv(fields: Any, rows: Iterable[Any]) -> None:
    page = io.StringIO()
    formats.write_csv(page, fields, rows)
    sys.stdout.write(page.getvalue())


def _write(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


_PRESENTED: dict[type, Callable[[Any], object]] = {
    Done: _said,
    Detail: _shown,
    Listing: _listing,
    Output: _output,
    StartedPool: _running,
    PendingWait: _wait,
    Stream: _stream,
    Text: _prose,
    Dashboard: _dashboard,
}
