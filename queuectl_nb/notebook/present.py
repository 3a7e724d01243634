"""What a cell shows and returns for each kind of result: a DataFrame, a job, a pool, a log, or lines; and errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from IPython.display import Image, display

from queuectl_nb.client.hints import CONSOLE, MAGIC
from queuectl_nb.client.job import Job
from queuectl_nb.client.wait_display import INTERRUPTED_TEXT, progress_bar, run_with_progress
from queuectl_nb.commands import results
from queuectl_nb.commands.app import describe_usage_error
from queuectl_nb.model.errors import BadEnvironment, BadInput, JobFailed, QueuectlError
from queuectl_nb.notebook.magic_line import CELL_VERBS, NOTEBOOK_OPTIONS
from queuectl_nb.render import formats, text_table
from queuectl_nb.render.ansi import AnsiFilter, fold_returns
from queuectl_nb.render.cards import log_html
from queuectl_nb.render.output_cell import has_frontend, new_output_cell
from queuectl_nb.render.text_table import EMPTY, RULE, header_lines, stream_heading, visible
from queuectl_nb.store.os_errors import OPEN_FILES_ERRNOS, describe_os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from queuectl_nb.client.wait import Progress

__all__ = ["as_magic", "one_line", "one_line_errors", "present"]

E = TypeVar("E", bound=BaseException)
MAX_STREAM_BYTES = 256 * 1024
"""Only the end of a longer stream is shown."""
PLOT_ALT = "Finished attempts per minute, attempts by worker, and run times of commands"


def present(result: results.Result, output_format: str) -> object:
    """Show a result, and return the value of the cell.

    ``json`` returns the value that the console prints as JSON; ``jsonl`` and ``csv`` are printed.
    """
    if isinstance(result, results.Plotted):
        _show_plot(result)
        result = result.answer
    if isinstance(result, results.PendingWait):
        return _wait(result, output_format)
    if output_format != "table" and isinstance(
        result, results.Done | results.Detail | results.Listing | results.Output
    ):
        return _as_data(result, output_format)
    return _PRESENTERS[type(result)](result)


def _show_plot(result: results.Plotted) -> None:
    from queuectl_nb.render.plots import overview

    if result.path:
        overview.write_figure(result.figure, result.path)
        sys.stderr.write(f"queuectl: saved the plot to {visible(result.path)}\n")
        return
    if not has_frontend():
        raise BadInput("a terminal cannot show plots; name a file, for example --plot stats.png")
    png = overview.to_png(result.figure())
    display(Image(data=png, format="png", retina=True, alt=PLOT_ALT))


def _show_done(result: results.Done) -> object:
    """Return jobs or a DataFrame; print the message where that says less, or no job was affected."""
    value = result.value()
    if not isinstance(value, Job):  # its card shows the same
        _write_notes(result.notes())
    if result.announce or value is None or (hasattr(value, "empty") and value.empty):
        _write(result.lines)
    return value


def _show_detail(result: results.Detail) -> object:
    _write_notes(result.hints())
    _write(result.notes)
    return result.value()


def _show_listing(result: results.Listing) -> object:
    _write_notes(result.hints())
    value = result.value()
    if not len(value):
        _write([result.empty_text])
    if isinstance(value, list):  # findings of doctor
        import pandas as pd

        from queuectl_nb.render.frames.display import mark

        value = mark(pd.DataFrame(value, columns=list(result.fields)).set_index(result.fields[0]), "texts")
    if result.exit_code:
        display(value)
        failed = [str(row[result.fields[0]]) for row in result.rows(None) if not row.get("ok", True)]
        raise BadEnvironment(f"{len(failed)} problem(s): {', '.join(failed)}; suggested fixes above")
    return value


def _show_output(result: results.Output) -> None:
    _write_notes(result.hints)
    if result.live:
        _follow_log(result.job_id, result.chunks())
    else:
        _show_log(result)


def _show_log(output: results.Output) -> None:
    """Display the output written so far, as HTML and as text, with at most ``MAX_STREAM_BYTES`` of each stream."""
    streams = {stream: bytearray() for stream in output.streams}
    omitted_bytes = 0
    for stream, chunk in output.chunks():
        streams[stream] += chunk
        if (excess := len(streams[stream]) - MAX_STREAM_BYTES) > 0:
            del streams[stream][:excess]
            omitted_bytes += excess
    texts = {stream: fold_returns(bytes(data)) for stream, data in streams.items()}
    notes = []
    if omitted_bytes:
        notes = [f"{omitted_bytes} earlier bytes are not shown; '%queuectl log {output.job_id}' shows all"]
    facts = [f"attempt {output.number}"] if output.number is not None else []
    facts += [output.error] if output.error is not None else []
    html = log_html(output.job_id, output.state, [*facts, *notes], texts)
    display({"text/html": html, "text/plain": _log_text(output, texts, notes)}, raw=True)


def _log_text(output: results.Output, texts: dict[str, str], notes: list[str]) -> str:
    """Return the log as the console prints it."""
    if not output.with_header:
        return "".join(texts.values())
    parts = [RULE, *header_lines(output.job_id, output.state, output.number, output.error), *notes, RULE]
    for stream, text in texts.items():
        parts += [stream_heading(stream), text.rstrip("\n") or EMPTY]
    return "\n".join([*parts, "", RULE])


def _follow_log(job_id: str, chunks: Iterator[tuple[str, bytes]]) -> None:
    """Write a job's output into the cell as it arrives, until the job finishes; an interrupt stops only that."""
    files = {"stdout": sys.stdout, "stderr": sys.stderr}
    filters = {stream: AnsiFilter(keep_returns=True) for stream in files}
    try:
        for stream, chunk in chunks:
            files[stream].write(filters[stream].feed(chunk))
            files[stream].flush()
    except KeyboardInterrupt as error:
        raise one_line(error, f"stopped following; job {job_id} continues") from None
    finally:
        for stream, ansi in filters.items():
            files[stream].write(ansi.close())


def _open_dashboard(result: results.Dashboard) -> object:
    if result.port is not None or result.open_browser:
        raise BadInput("--port and --open are for the console's web page; in a notebook the dashboard is a widget")
    from queuectl_nb.notebook.dashboard.dashboard import Dashboard

    return Dashboard(result.queue)


def _write_stream(result: results.Stream) -> None:
    if result.run(lambda line: _write([line])):
        raise JobFailed("not everything succeeded; see the lines above")


def _run(result: results.Foreground) -> object:
    """Follow the job and return it; raise if it did not complete. An interrupt leaves it running."""
    result.job.on_note = lambda text: _write_notes([text])
    _write_notes(result.added.lines)
    chunks = result.job.chunks()
    _write_notes(result.added.notes())
    _follow_log(result.job.job_id, chunks)
    result.job.stop_worker()
    _, error = result.job.outcome()
    if error is not None:
        raise JobFailed(error)
    return result.added.value()


def _wait(result: results.PendingWait, output_format: str) -> object:
    """Wait with visible progress, and print the result; an interrupt stops only the wait."""
    _write_notes(result.notes)
    try:
        waited = _run_wait(result)
    except KeyboardInterrupt as error:
        raise one_line(error, INTERRUPTED_TEXT) from None
    _write(result.lines(waited))
    value = None if output_format == "table" else _convert(result.data(waited), output_format)
    result.wait.check(waited)
    return value


def _run_wait(result: results.PendingWait) -> Progress:
    """Show a card on a page, and a text bar in a terminal."""
    if new_output_cell():
        return run_with_progress(result.wait, keep=False)
    with progress_bar(result.wait) as update:
        return result.wait.run(update)


def _as_data(result: results.Data, output_format: str) -> object:
    data, fields = results.as_data(result, output_format)
    value = _convert(list(data) if isinstance(data, Iterator) else data, output_format, fields)
    if isinstance(result, results.Listing) and result.exit_code:
        raise BadEnvironment("there are problems; see the result")
    return value


def _convert(value: Any, output_format: str, fields: Sequence[str] = ()) -> Any:
    """Return a value for ``json``; print it for ``jsonl`` and ``csv``."""
    if output_format == "json":
        return value
    formats.write_data(sys.stdout, value, output_format, fields)
    return None


def _write(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _write_notes(notes: Iterable[str]) -> None:
    sys.stderr.write("".join(f"queuectl: {as_magic(note)}\n" for note in notes))


_PRESENTERS: dict[type, Callable[[Any], object]] = {
    results.Done: _show_done,
    results.Detail: _show_detail,
    results.Listing: _show_listing,
    results.Output: _show_output,
    results.StartedPool: lambda result: result.pool,
    results.Foreground: _run,
    results.Stream: _write_stream,
    # IPython in a terminal has no Markdown and shows the source
    results.Text: lambda result: display({"text/markdown": result.text, "text/plain": result.text}, raw=True),
    results.Dashboard: _open_dashboard,
}


def one_line(error: E, text: str | None = None) -> E:
    """Make IPython show ``error`` as one line, with ``text`` instead of its message; return it."""
    line = f"{type(error).__name__}: {text_table.one_line(text or _message(error))}"
    # IPython reads this from the instance; the class stays the one that `except` clauses name
    error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]
    return error


def _message(error: BaseException) -> str:
    if isinstance(error, JobFailed) or not isinstance(error, QueuectlError):
        return str(error)  # of a job, the text is its own
    return as_magic(error.console)


def as_magic(message: str) -> str:
    """Return a message with the commands that it quotes as a notebook takes them.

    >>> as_magic("no job x; see 'queuectl list'")
    "no job x; see '%queuectl list'"
    """
    return message.replace(f"'{CONSOLE} ", f"'{MAGIC} ")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn expected errors of a command into one-line errors; bugs keep their traceback."""
    try:
        yield
    except QueuectlError as error:
        raise one_line(error) from None
    except click.exceptions.Exit:
        return
    except click.ClickException as error:
        raise one_line(BadInput(describe_usage_error(error, dict.fromkeys(CELL_VERBS, NOTEBOOK_OPTIONS)))) from None
    except click.Abort:
        raise one_line(KeyboardInterrupt(), "interrupted") from None
    except OSError as error:
        if error.filename is None and error.errno not in OPEN_FILES_ERRNOS:
            raise
        raise one_line(BadEnvironment(describe_os_error(error))) from None
