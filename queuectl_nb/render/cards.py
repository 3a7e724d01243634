"""Cards of jobs, worker pools and logs, as HTML and as plain text."""

from __future__ import annotations

import contextlib
import json
import os
import re
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.validation import invalid_time
from queuectl_nb.render import js_bundle
from queuectl_nb.render.ansi import to_html
from queuectl_nb.render.log_header import EMPTY
from queuectl_nb.render.progress import format_duration
from queuectl_nb.render.text_table import format_cell, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.model.job import JobRecord

__all__ = [
    "Html",
    "card",
    "cell_source",
    "fill",
    "format_time",
    "job_html",
    "job_text",
    "log_html",
    "pool_html",
    "short_path",
    "style",
    "table",
]

_LIVE_SELECTOR, _CARD_SELECTOR = ".queuectl-ui", ":is(.queuectl, #qc)"
"""Scope of the palette in live views and in cards; cards.css explains the second."""
_COMMENT = re.compile(r"/\*.*?\*/\n*", re.DOTALL)
_MEBI = 1024 * 1024
ATTEMPT_COLUMNS = ("attempt", "outcome", "exit", "started", "run time", "memory", "error")
WORKER_COLUMNS = {"name": "name", "pid": "pid", "state": "state", "job_id": "job", "jobs_done": "jobs done"}
"""Fields of a worker, and the titles of their columns."""
_CELL_COMMAND = re.compile(
    r"exec (?:'[^\n]*'|\S+) -m queuectl_nb\.child\.cell(?P<values>[^\n]*)"
    r" <<'(?P<end>CELL_*)'\n(?P<source>.*)\n(?P=end)",
    re.DOTALL,
)


class Html(str):
    """Text that is HTML already: :func:`fill` does not escape it."""

    __slots__ = ()


@cache
def _templates() -> dict[str, Template]:
    text = Path(__file__).with_name("templates.html").read_text("utf-8")
    _, *parts = re.split(r"^<!-- (\w+) -->\n", text, flags=re.MULTILINE)
    return {name: Template(text.strip()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def fill(name: str, /, **values: str) -> Html:
    """Fill a block of templates.html; values are escaped unless they are :class:`Html`."""
    safe = {key: value if isinstance(value, Html) else escape(visible(value)) for key, value in values.items()}
    return Html(_templates()[name].substitute(safe))


@cache
def style() -> Html:
    """Return the style sheet of a card: the palette and cards.css."""
    sheet = js_bundle.read_styles("palette.css").replace(_LIVE_SELECTOR, _CARD_SELECTOR)
    return Html(_COMMENT.sub("", sheet + js_bundle.read_styles("cards.css")))


def job_html(job: JobRecord, attempts: Sequence[AttemptRecord], run: str = "") -> Html:
    """Return a job with its attempts; ``run`` is the HTML of its running attempt."""
    facts = [_attempt_count(job)]
    facts += [f"due {format_time(job.run_at)}"] if job.run_at and str(job.state) in ("pending", "failed") else []
    facts += [f"after {', '.join(job.after)}"] if job.after else []
    facts += [f"on {job.worker}"] if job.worker and str(job.state) == "processing" else []
    source, values = cell_source(job.command) or (None, "")
    facts += [] if source is None else [f"Python cell {values}".rstrip()]
    texts = {"command": job.command if source is None else source, "error": job.error or None}
    if job.result is not None:
        texts["result"] = json.dumps(job.result, indent=1, ensure_ascii=False)
    body = [run] if run else []
    body += [fill("pre", kind=kind, text=_escape_lines(text)) for kind, text in texts.items() if text is not None]
    body += [table(ATTEMPT_COLUMNS, [_attempt_row(each) for each in attempts], state_column=1)] if attempts else []
    return card(f"Job {job.id}", str(job.state), facts, body)


def job_text(job: JobRecord, attempts: Sequence[AttemptRecord], run: str = "") -> str:
    """Return a job with its attempts, one line each; ``run`` is a line about its running attempt."""
    source, _ = cell_source(job.command) or (None, "")
    command = repr(visible(job.command[:60])) if source is None else f"Python cell {visible(source[:60])!r}"
    lines = [f"<Job {job.id}: {job.state}, {command}>", *([f"  {run}"] if run else [])]
    for attempt in attempts:
        number, outcome, code, _, ran, *_ = _attempt_row(attempt)
        error = f": {visible(attempt.error)}" if attempt.error else ""
        lines.append(f"  attempt {number}: {outcome}, exit {format_cell(code)}, ran {format_cell(ran)}{error}")
    return "\n".join(lines)


def pool_html(title: str, state: str, workers: Iterable[Mapping[str, Any]], warnings: Iterable[str]) -> Html:
    """Return a pool: its workers and recent warnings."""
    rows = [[worker[key] for key in WORKER_COLUMNS] for worker in workers]
    body = [
        table(list(WORKER_COLUMNS.values()), rows, state_column=2),
        *(fill("heading", text=warning) for warning in warnings),
    ]
    return card(title, state, [], body)


def log_html(job_id: str, state: str, facts: Sequence[str], streams: Mapping[str, str]) -> Html:
    """Return a job's output; each stream is text that only :class:`~queuectl_nb.render.ansi.AnsiFilter` let through."""
    body = []
    for name, text in streams.items():
        body += [fill("heading", text=name), fill("pre", kind=name, text=Html(to_html(text) or EMPTY))]
    return card(f"Log of job {job_id}", state, facts, body)


def card(title: str, state: str, facts: Sequence[str], body: Sequence[str]) -> Html:
    """Return a card: title, state and facts in a line, and below them the HTML of ``body``."""
    return fill(
        "card",
        style=style(),
        title=fill("title", text=title),
        state=fill("state", state=state, text=state),
        facts=Html(" ".join(fill("fact", text=fact) for fact in facts)),
        body=Html("\n".join(body)),
    )


def table(titles: Sequence[str], rows: Sequence[Sequence[object]], state_column: int) -> Html:
    """Return a table; cells of ``state_column`` have the colour of their state."""
    lines = []
    for row in rows:
        texts = [escape(format_cell(value)) for value in row]
        cells = [
            f'<td class="qc-is-{text}">{text}</td>' if column == state_column else f"<td>{text}</td>"
            for column, text in enumerate(texts)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return fill(
        "table", titles=Html("".join(f"<th>{escape(title)}</th>" for title in titles)), rows=Html("\n".join(lines))
    )


def cell_source(command: str) -> tuple[str, str] | None:
    r"""Return source and variables of the Python cell that a command runs; None for other commands.

    >>> cell_source("exec /usr/bin/python3 -m queuectl_nb.child.cell lr=0.1 <<'CELL'\nprint(lr)\nCELL")
    ('print(lr)', 'lr=0.1')
    """
    match = _CELL_COMMAND.fullmatch(command)
    return None if match is None else (match["source"], match["values"].strip())


def short_path(path: Path) -> str:
    """Return a path relative to the working directory or, with ``~``, to the home directory."""
    for base, prefix in ((".", ""), (os.path.expanduser("~"), "~/")):
        with contextlib.suppress(FileNotFoundError, ValueError):  # the working directory was removed; another base
            return f"{prefix}{path.relative_to(os.path.abspath(base))}"
    return str(path)


def format_time(epoch_s: float | None) -> str | None:
    """Return local date and time."""
    try:
        return None if epoch_s is None else f"{datetime.fromtimestamp(epoch_s).astimezone():%Y-%m-%d %H:%M:%S}"
    except (OSError, OverflowError, TypeError, ValueError) as error:
        raise invalid_time(epoch_s) from error


def _escape_lines(text: str) -> Html:
    """Escape everything but newlines and tabs."""
    return Html(escape(re.sub(r"[^\n\t]+", lambda match: visible(match[0]), text)))


def _attempt_count(job: JobRecord) -> str:
    limit = f" of {job.max_retries}" if job.max_retries is not None else ""
    return f"{job.attempts}{limit} attempt{'' if job.attempts == 1 and not limit else 's'}"


def _attempt_row(attempt: AttemptRecord) -> list[object]:
    ran = None
    if attempt.started_at is not None and attempt.finished_at is not None:
        ran = format_duration(attempt.finished_at - attempt.started_at)
    return [
        attempt.number,
        attempt.outcome or "running",
        attempt.signal or attempt.exit_code,
        format_time(attempt.started_at),
        ran,
        None if attempt.max_rss_bytes is None else f"{attempt.max_rss_bytes / _MEBI:.0f} MiB",
        attempt.error,
    ]
