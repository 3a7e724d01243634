"""Shows the result of a command: tables for users; JSON, JSON lines and CSV for programs."""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from queuectl_nb.client.wait_display import INTERRUPTED_TEXT, progress_bar
from queuectl_nb.commands import results
from queuectl_nb.model.displayed_command import listed_command
from queuectl_nb.model.errors import BadEnvironment, BadInput, WaitTimeout
from queuectl_nb.render import formats, text_table
from queuectl_nb.render.text_table import local_time, zone_name

__all__ = ["show"]

OPTIONAL = ("error", "run_at")
"""Columns that are only shown if a row has a value."""
STYLES = {
    "completed": "green",
    "dead": "bold red",
    "failed": "red",
    "processing": "cyan",
    "cancelled": "bright_black",
    "blocked": "magenta",
    "lost": "bold red",
    "wrong": "bold red",
    "ok": "green",
}
UNWRAPPED = frozenset(
    (
        "state",
        "attempts",
        "updated at",
        "due at",
        "started",
        "jobs done",
        "count",
        "key",
        "pid",
        *text_table.LONG_COLUMNS,
    )
)
"""Columns that are never wrapped."""
MIN_WRAPPED_WIDTH = 8
LONG_S = 1000
"""Durations from here on have all digits before the decimal point."""


def show(result: results.Result, output_format: str, serve: results.Serve | None = None) -> int:
    """Write a result to stdout and return the exit code; ``serve`` runs the web page."""
    match result:
        case results.StartedPool():
            from queuectl_nb.cli.worker_events import follow_pool

            return follow_pool(result.pool)
        case results.Foreground():
            from queuectl_nb.cli.log_output import run_in_foreground

            return run_in_foreground(result)
        case results.Stream():
            return result.run(_write_line)
        case results.Dashboard():
            _show_dashboard(result, serve)
        case results.PendingWait():
            _show_wait(result, output_format)
        case results.Plotted():
            return _show_plot(result, output_format)
        case _ if output_format == "table":
            _show_text(result)
        case results.Listing() if result.texts and not (output_format == "csv" and sys.stdout.isatty()):
            # CSV on a terminal is escaped, cell by cell (below)
            formats.write_texts(sys.stdout, result.fields, result.texts(output_format), output_format)
        case _ if isinstance(result, results.Data):
            data, fields = results.as_data(result, output_format)
            formats.write_data(sys.stdout, data, output_format, fields)
            _write_notes(result.notes() if isinstance(result, results.Done) else ())
    return result.exit_code if isinstance(result, results.Listing) else 0


def _show_text(result: results.Result) -> None:
    """Show a result to a person."""
    match result:
        case results.Detail():
            for block in result.blocks():
                if isinstance(block, str):
                    sys.stdout.write(block + "\n")
                else:
                    _write_table(block.titles, block.rows)
            _write_notes(result.hints())
        case results.Listing():
            _show_first_rows(result)
            _write_notes(result.hints())
        case results.Output():
            from queuectl_nb.cli.log_output import show_output

            _write_notes(result.hints)
            show_output(result)
        case results.Text():
            from queuectl_nb.cli.markdown import print_markdown

            print_markdown(result.text)


def _write_notes(notes: Iterable[str]) -> None:
    """Write notes and hints to stderr, after what was written to stdout so far."""
    sys.stdout.flush()
    sys.stderr.write("".join(f"queuectl: {text_table.visible(note)}\n" for note in notes))
    sys.stderr.flush()


def _show_dashboard(result: results.Dashboard, serve: results.Serve | None) -> None:
    """Print the address of the web page and serve it until interrupted."""
    if serve is None:
        raise BadEnvironment("the web page is not available here; run 'queuectl dashboard' in a terminal")

    def on_ready(address: str) -> bool:
        if not _has_room(1):  # a write would keep the event loop from handling requests and signals
            return False
        sys.stdout.write(address + "\n")
        sys.stdout.flush()
        if _has_room(2):
            path = text_table.visible(str(result.queue.path))
            sys.stderr.write(f"queuectl: serving {path} (read-only); press Ctrl+C to stop\n")
        return True

    serve(result, on_ready)


def _has_room(handle: int) -> bool:
    """Return True if a short write to a descriptor does not wait for its reader."""
    ready = select.poll()
    ready.register(handle, select.POLLOUT)
    return bool(ready.poll(0))


def _write_line(line: str) -> None:
    """Write a line, with words for check marks if the encoding of stdout lacks them."""
    try:
        line.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        line = line.replace("✓", "[ok]").replace("✗", "[FAILED]")
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _show_plot(result: results.Plotted, output_format: str) -> int:
    """Save the plot and show the data that it is made of."""
    if not result.path:
        msg = "--plot needs a file name on the console, such as --plot stats.png; a notebook shows the plot itself"
        raise BadInput(msg)
    from queuectl_nb.render.plots.overview import write_figure

    write_figure(result.figure, result.path)
    code = show(result.answer, output_format)
    sys.stdout.flush()
    sys.stderr.write(f"queuectl: saved the plot to {text_table.visible(result.path)}\n")
    return code


def _show_first_rows(result: results.Listing) -> None:
    """Show the first rows, and the number of rows that are not shown."""
    rows = list(result.rows(result.default_limit))
    left = result.count() - len(rows) if result.count is not None else 0
    if rows:
        shown = [_shown_fields(row) for row in rows]
        columns = [each for each in result.columns if each[1] not in OPTIONAL or any(row[each[1]] for row in shown)]
        titles = [f"{title} ({zone_name()})" if key.endswith("_at") else title for title, key in columns]
        _write_table(titles, [[row[key] for _, key in columns] for row in shown])
    elif not left:
        sys.stdout.write(result.empty_text + "\n")
    if left > 0:
        sys.stdout.flush()
        sys.stderr.write(f"queuectl: {left} more not shown; use --limit N or --format json to see them\n")


def _shown_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as a table shows it.

    It has local times, four digits of seconds, the start of its command as typed, and ``run_at`` only if it is in the
    future.
    """
    shown = {key: local_time(value) if key.endswith("_at") else value for key, value in row.items()}
    for key in [key for key, value in row.items() if isinstance(value, float) and "_s" in key and value < LONG_S]:
        shown[key] = float(f"{row[key]:.4g}")
    if "command" in row:
        shown["command"] = listed_command(row["command"])
    if shown.get("run_at"):
        ahead = datetime.fromisoformat(row["run_at"]) > datetime.now(UTC)
        shown["run_at"] = shown["run_at"] if ahead and row["state"] in ("pending", "failed", "blocked") else None
    return shown


def _write_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table: with rich on a colour terminal, as plain text elsewhere.

    All tables on a terminal have headings of one style; programs that read a pipe know those of the plain tables.
    """
    if sys.stdout.isatty():
        titles = [text_table.heading(title) for title in titles]
        if not os.environ.get("NO_COLOR") and _has_lines():
            _print_rich_table(titles, rows)
            return
        lines = text_table.terminal_lines(titles, rows, shutil.get_terminal_size().columns)
    else:
        lines = text_table.table_lines(titles, rows)
    for line in lines:
        sys.stdout.write(line + "\n")


def _has_lines() -> bool:
    """Return whether the encoding of the terminal has the characters of lines."""
    return (sys.stdout.encoding or "ascii").lower().startswith("utf")


def _print_rich_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; cells are never parsed as markup. If the terminal is too narrow, rows have several lines."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    titles, cells = text_table.fit_terminal(headings, rows, console.width, fold_times=True)
    if _min_width(titles, cells) > console.width:
        sys.stdout.write("".join(f"{line}\n" for line in text_table.folded_lines(headings, rows, console.width)))
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=bool(titles), pad_edge=False, padding=(0, 1, 0, 0))
    for title in titles or [""] * max(map(len, cells), default=0):
        table.add_column(title, no_wrap=_is_unwrapped(title), overflow="fold")
    for row in cells:
        table.add_row(*[Text(text, style=STYLES.get(text, "")) for text in row])
    console.print(table)


def _is_unwrapped(title: str) -> bool:
    return re.split(r"\s\(", title.lower())[0] in UNWRAPPED  # without the zone of times


def _min_width(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """Return the width below which rich would truncate cells."""
    total = 0
    for index, title in enumerate(titles):
        texts = (title, *(row[index] for row in cells))
        widest = max(text_table.width(line) for text in texts for line in text.split("\n"))
        total += text_table.COLUMN_GAP + (widest if _is_unwrapped(title) else min(widest, MIN_WRAPPED_WIDTH))
    return total


def _show_wait(result: results.PendingWait, output_format: str) -> None:
    """Wait with a progress bar, print a summary, and raise if a job did not complete.

    Notes come first on a terminal and for a wait without a timeout. Otherwise they are part of the timeout error, so
    that a program gets one line.
    """
    interactive = sys.stderr.isatty()
    notes_first = interactive or result.wait.timeout is None
    if notes_first:
        _write_notes(result.notes)
    if interactive and result.wait.read_progress().remaining:
        try:
            with progress_bar(result.wait) as update:
                progress = result.wait.run(update)
        except KeyboardInterrupt:
            with suppress(OSError):  # the terminal was closed
                _write_notes([INTERRUPTED_TEXT])
            raise
    else:
        try:
            progress = result.wait.run()
        except WaitTimeout as error:
            if notes_first or not result.notes:
                raise
            raise WaitTimeout(f"{error} ({'; '.join(result.notes)})") from None
    if output_format == "table":
        sys.stdout.write("".join(f"{line}\n" for line in result.lines(progress)))
    else:
        formats.write_data(sys.stdout, result.data(progress), output_format)
    sys.stdout.flush()
    result.wait.check(progress)
