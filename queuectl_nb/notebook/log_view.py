"""A job's log as the output of a cell: what is saved at once, live output as it is written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from IPython.display import display

from queuectl_nb.notebook.errors import one_line
from queuectl_nb.render.ansi import AnsiFilter, fold_returns
from queuectl_nb.render.cards import log_html
from queuectl_nb.render.log_header import EMPTY, RULE, header_lines, stream_heading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.commands.results import Output

__all__ = ["follow_log", "show_log"]

MAX_STREAM_BYTES = 256 * 1024
"""Only the end of a longer stream is shown."""


def show_log(output: Output) -> None:
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
        notes = [f"{omitted_bytes} earlier bytes are not shown; 'queuectl log {output.job_id}' shows all"]
    facts = [f"attempt {output.number}"] if output.number is not None else []
    facts += [output.error] if output.error is not None else []
    html = log_html(output.job_id, output.state, [*facts, *notes], texts)
    display({"text/html": html, "text/plain": _plain(output, texts, notes)}, raw=True)


def _plain(output: Output, texts: dict[str, str], notes: list[str]) -> str:
    """Return the log as the console prints it."""
    if not output.with_header:
        return "".join(texts.values())
    parts = [RULE, *header_lines(output.job_id, output.state, output.number, output.error), *notes, RULE]
    for stream, text in texts.items():
        parts += [stream_heading(stream), text.rstrip("\n") or EMPTY]
    return "\n".join([*parts, "", RULE])


def follow_log(job_id: str, chunks: Iterator[tuple[str, bytes]]) -> None:
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
