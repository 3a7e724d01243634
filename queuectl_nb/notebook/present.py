"""What a cell shows and returns for each kind of result: a DataFrame, a job, a pool, a log, or printed lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.display import has_frontend
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
from queuectl_nb.notebook import progress
from queuectl_nb.notebook.log_view import LogView
from queuectl_nb.render import formats
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.commands.results import Result

__all__ = ["present"]

PLOT_ALT = "Finished attempts per minute, attempts by worker, and run times of commands"


def present(result: Result, output_format: str) -> object:
    """Show a result, and return the value of the cell.

    ``json`` returns the value that the console prints as JSON; ``jsonl`` and ``csv`` are printed.
    """
    if isinstance(result, Plotted):
        _show_plot(result)
        result = result.answer
    if output_format == "table" or isinstance(result, StartedPool | Stream | Text | Dashboard):
        return _PRESENTERS[type(result)](result)
    if isinstance(result, PendingWait):
        return _wait(result, output_format)
    return _as_data(result, output_format)


def _show_plot(result: Plotted) -> None:
    from queuectl_nb.render.plots import overview

    if result.path:
        overview.write_figure(result.figure, result.path)
        sys.stderr.write(f"queuectl: saved the plot to {visible(result.path)}\n")
        return
    if not has_frontend():
        msg = "a terminal cannot show plots; name a file, for example --plot stats.png"
        raise BadInput(msg)
    from IPython.display import Image

    _display(Image(data=overview.to_png(result.figure()), format="png", retina=True, alt=PLOT_ALT))


def _display(value: object, **options: Any) -> None:
    from IPython.display import display

    display(value, **options)


def _done(result: Done) -> object:
    """Return jobs or a DataFrame; print the message if there is no value or no job was affected."""
    _write_notes(result.notes)
    value = result.value()
    if value is None or (hasattr(value, "empty") and value.empty):
        _write(result.lines)
    return value


def _detail(result: Detail) -> object:
    return result.value()


def _listing(result: Listing) -> object:
    value = result.value()
    if isinstance(value, list):  # findings of doctor
        import pandas as pd

        rows = [dict(row) for row in result.rows(None)]
        value = pd.DataFrame(rows, columns=list(result.fields)).set_index(result.fields[0])
    if not result.exit_code:
        return value
    _display(value)
    failed = [str(row[result.fields[0]]) for row in result.rows(None) if not row.get("ok", True)]
    msg = f"{len(failed)} problem(s): {', '.join(failed)}; suggested fixes above"
    raise BadEnvironment(msg)


def _output(result: Output) -> None:
    if result.live:
        progress.follow(result)
    else:
        _display(LogView.read(result))


def _started_pool(result: StartedPool) -> WorkerPool:
    return result.pool


def _dashboard(result: Dashboard) -> object:
    if result.port is not None or result.open_browser:
        msg = "--port and --open are for the console's web page; in a notebook the dashboard is a widget"
        raise BadInput(msg)
    from queuectl_nb.notebook.dashboard.dashboard import Dashboard as Widget

    return Widget(result.queue)


def _stream(result: Stream) -> None:
    for line in result.lines:
        _write([line])
    if result.exit_code():
        msg = "not everything succeeded; see the lines above"
        raise JobFailed(msg)


def _text(result: Text) -> None:
    # IPython in a terminal has no Markdown and shows the source
    _display({"text/markdown": result.text, "text/plain": result.text}, raw=True)


def _wait(result: PendingWait, output_format: str = "table") -> object:
    _write_notes(result.notes)
    waited = progress.wait(result)
    value = None if output_format == "table" else _convert(result.data(waited), output_format)
    waited.check()
    return value


def _as_data(result: Done | Detail | Listing | Output, output_format: str) -> object:
    if output_format == "csv" and isinstance(result, Listing):
        formats.write_csv(sys.stdout, result.fields, result.rows(None))
        value = None
    elif output_format == "csv" and isinstance(result, Detail):
        value = _convert(list(result.records()), output_format)
    elif isinstance(result, Listing) and result.data is None:
        value = _convert(list(result.rows(None)), output_format)
    else:
        assert result.data is not None  # noqa: S101 - only a Listing may lack it
        value = _convert(result.data(), output_format)
    if isinstance(result, Detail | Listing) and result.exit_code:
        msg = "there are problems; see the result"
        raise BadEnvironment(msg)
    return value


def _convert(value: Any, output_format: str) -> Any:
    """Return a value for ``json``; print it for ``jsonl`` and ``csv``."""
    if output_format == "json":
        return value
    formats.write_data(sys.stdout, value, output_format)
    return None


def _write(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _write_notes(notes: Iterable[str]) -> None:
    for note in notes:
        sys.stderr.write(f"queuectl: {note}\n")


_PRESENTERS: dict[type, Callable[[Any], object]] = {
    Done: _done,
    Detail: _detail,
    Listing: _listing,
    Output: _output,
    StartedPool: _started_pool,
    PendingWait: _wait,
    Stream: _stream,
    Text: _text,
    Dashboard: _dashboard,
}
