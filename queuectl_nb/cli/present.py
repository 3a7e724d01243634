"""How each kind of answer is shown: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import os
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
from queuectl_nb.model.errors import BadEnvironment, BadInput, WaitTimeout
from queuectl_nb.render import formats, text_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from queuectl_nb.commands.results import Result, Serve

__all__ = ["show"]


def show(result: Result, shape: str, serve: Serve | None = None) -> int:
    """Write an answer to stdout in the given format; return the exit code that goes with it.

    ``serve`` opens a dashboard's page.
    """
    if isinstance(result, Dashboard):
        return _dashboard(result, serve)
    return _SHOWN[type(result)](result, shape)


def _said(result: Done, shape: str) -> int:
    _data(result.data(), shape)
    return 0


def _output(result: Output, shape: str) -> int:
    if shape != "table":
        _data(result.data(), shape)
        return 0
    from queuectl_nb.cli.log_output import show_output

    return show_output(result)


def _running(result: StartedPool, _shape: str) -> int:
    from queuectl_nb.cli.watch import watch

    return watch(result)


def _dashboard(result: Dashboard, serve: Serve | None) -> int:
    """Say where the page is, and stay until it is interrupted."""
    if serve is None:
        msg = "there is no web page here; 'queuectl dashboard' on a console serves it"
        raise BadEnvironment(msg)

    def ready(address: str) -> None:
        sys.stdout.write(address + "\n")
        sys.stdout.flush()
        sys.stderr.write(f"queuectl: serving {result.queue.path}, read-only; Ctrl+C ends it\n")

    serve(result, ready)
    return 0


def _stream(result: Stream, _shape: str) -> int:
    for line in result.lines:
        sys.stdout.write(_encodable(line) + "\n")
        sys.stdout.flush()
    return result.exit_code()


def _prose(result: Text, _shape: str) -> int:
    from queuectl_nb.cli.markdown import show_prose

    show_prose(result.text)
    return 0


def _encodable(line: str) -> str:
    """Return a line with its ticks and crosses as words where stdout has no such characters."""
    try:
        line.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return line.replace("✓", "[ok]").replace("✗", "[FAILED]")
    return line


def _data(value: Any, shape: str) -> None:
    """Write an answer that is one value or a short array."""
    if shape == "json":
        formats.write_json(sys.stdout, value)
    elif shape == "jsonl":
        formats.write_lines(sys.stdout, value)
    else:
        rows = list(formats.records_of(value))
        formats.write_csv(sys.stdout, list(rows[0]) if rows else ["id"], rows)


def _shown(result: Detail, shape: str) -> int:
    if shape == "table":
        for block in result.blocks():
            if isinstance(block, str):
                sys.stdout.write(block + "\n")
            else:
                _table(block.titles, block.rows)
    elif shape == "csv":
        rows = list(result.records())
        formats.write_csv(sys.stdout, list(rows[0]) if rows else [], rows)
    else:
        _data(result.data(), shape)
    return result.exit_code


def _drawn(result: Plotted, shape: str) -> int:
    """Write the picture into its file, and show what it is of."""
    if not result.path:
        msg = "--plot needs a file here, such as --plot stats.png; a notebook shows the picture"
        raise BadInput(msg)
    from queuectl_nb.render.plots.files import write

    write(result.figure, result.path)
    code = show(result.answer, shape)
    sys.stdout.flush()
    sys.stderr.write(f"queuectl: the picture is in {text_table.visible(result.path)}\n")
    return code


def _listing(result: Listing, shape: str) -> int:
    if shape == "table":
        _short_table(result)
    elif shape == "csv":
        formats.write_csv(sys.stdout, result.fields, result.rows(None))
    elif result.data is not None:
        _data(result.data(), shape)
    else:
        _writer(shape)(sys.stdout, result.rows(None))
    return result.exit_code


def _writer(shape: str) -> Callable[..., None]:
    return formats.write_json if shape == "json" else formats.write_lines


def _short_table(result: Listing) -> None:
    """Show the first rows of a listing, and say how many there are besides."""
    rows = list(result.rows(result.default_limit))
    left = result.count() - len(rows) if result.count is not None else 0
    if rows:
        _table([title for title, _ in result.columns], [_cells(row, result.columns) for row in rows])
    elif not left:
        sys.stdout.write(result.empty_text + "\n")
    if left > 0:
        sys.stdout.flush()
        sys.stderr.write(f"queuectl: {left} more not shown; --limit N or --format json shows them\n")


def _cells(row: Mapping[str, Any], columns: Sequence[tuple[str, str]]) -> list[Any]:
    return [_local(row[key]) if key.endswith("_at") else row[key] for _, key in columns]


def _local(iso: str | None) -> str | None:
    """Return a time as the reader's clock shows it."""
    if iso is None:
        return None
    from datetime import datetime

    return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M:%S}"


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table: rich on a terminal that may have colours, plain text elsewhere."""
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        from queuectl_nb.cli.rich_table import show_table

        show_table(titles, rows)
        return
    for line in text_table.table(titles, rows):
        sys.stdout.write(line + "\n")


def _wait(result: PendingWait, shape: str) -> int:
    """Carry out a wait with a bar, and end as the jobs did.

    A program that gives the wait a limit gets one line at its end; who sits there, or waits for ever, is told at once.
    """
    at_once = sys.stderr.isatty() or result.wait.timeout is None
    if at_once:
        sys.stderr.write("".join(f"queuectl: {note}\n" for note in result.notes))
    if sys.stderr.isatty() and result.wait.read_progress().remaining:
        from queuectl_nb.cli.progress import bar

        with bar() as update:
            progress = result.wait.run(update)
    else:
        try:
            progress = result.wait.run()
        except WaitTimeout as over:
            if at_once or not result.notes:
                raise
            msg = f"{over} ({'; '.join(result.notes)})"
            raise WaitTimeout(msg) from None
    if shape == "table":
        sys.stdout.write("".join(f"{line}\n" for line in result.lines(progress)))
    else:
        _data(result.data(progress), shape)
    sys.stdout.flush()
    progress.check()
    return 0


_SHOWN: dict[type, Callable[[Any, str], int]] = {
    Done: _said,
    Detail: _shown,
    Listing: _listing,
    Plotted: _drawn,
    Output: _output,
    StartedPool: _running,
    PendingWait: _wait,
    Stream: _stream,
    Text: _prose,
}
