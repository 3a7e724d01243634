"""Jobs, pools and logs as people see them in a notebook: HTML from the templates beside, and plain text."""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from queuectl_nb.render import js_bundle
from queuectl_nb.render.ansi import to_html
from queuectl_nb.render.cellsource import cell_source
from queuectl_nb.render.durations import span
from queuectl_nb.render.log_header import EMPTY
from queuectl_nb.render.text_table import cell, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.model.job import JobRecord

__all__ = ["card", "clock", "job_card", "job_lines", "log_card", "near", "pool_card", "style", "table", "template"]

_HERE = Path(__file__).parent
_LIVE, _CARD = ".queuectl-ui", ":is(.queuectl, #qc)"
"""Selectors of what the palette is for; that of cards has the weight of an id, as cards.css says."""
_COMMENT = re.compile(r"/\*.*?\*/\n*", re.DOTALL)
_MEBI = 1024 * 1024
HISTORY = ("attempt", "outcome", "exit", "started", "ran", "memory", "error")
WORKERS = ("name", "pid", "state", "job_id", "jobs_done")


@cache
def template(name: str) -> Template:
    """Return a piece of HTML by its name; what is put into it must be escaped."""
    return Template((_HERE / "templates" / f"{name}.html").read_text("utf-8").strip())


@cache
def style() -> str:
    """Return the style sheet that each card carries: that of cards behind the palette, which gets their class."""
    whole = js_bundle.style("palette.css").replace(_LIVE, _CARD) + js_bundle.style("cards.css")
    return _COMMENT.sub("", whole)


def job_card(job: JobRecord, history: Sequence[AttemptRecord], moving: str = "") -> str:
    """Return a job with its attempts as HTML; ``moving`` is HTML of what changes while it runs."""
    facts = [_attempts(job)]
    facts += [f"due {clock(job.run_at)}"] if job.run_at and str(job.state) in ("pending", "failed") else []
    facts += [f"after {', '.join(job.after)}"] if job.after else []
    facts += [f"on {job.worker}"] if job.worker and str(job.state) == "processing" else []
    body = [moving] if moving else []
    carried = cell_source(job.command)
    facts += [f"Python cell {carried.values}".rstrip()] if carried else []
    body.append(_pre("command", _visible_lines(carried.source if carried else job.command)))
    if job.error:
        body.append(_pre("error", _visible_lines(job.error)))
    if job.result is not None:
        body.append(_pre("result", _visible_lines(json.dumps(job.result, indent=1, ensure_ascii=False))))
    if history:
        body.append(table(HISTORY, [_attempt(attempt) for attempt in history], state=1))
    return card(f"Job {job.id}", str(job.state), facts, body)


def job_lines(job: JobRecord, history: Sequence[AttemptRecord], moving: str = "") -> str:
    """Return a job with its attempts as plain text, a line each; ``moving`` is a line of what changes."""
    carried = cell_source(job.command)
    said = f"Python cell {visible(carried.source[:60])!r}" if carried else repr(visible(job.command[:60]))
    lines = [f"<Job {job.id}: {job.state}, {said}>"]
    lines += [f"  {moving}"] if moving else []
    for attempt in history:
        number, outcome, code, _, ran, *_ = _attempt(attempt)
        error = f": {visible(attempt.error)}" if attempt.error else ""
        lines.append(f"  attempt {number}: {outcome}, exit {cell(code)}, ran {cell(ran)}{error}")
    return "\n".join(lines)


def pool_card(title: str, state: str, workers: Iterable[Mapping[str, Any]], notices: Iterable[str]) -> str:
    """Return a pool as HTML: its workers as they are now, and what went wrong lately."""
    body = [table(WORKERS, [[worker[key] for key in WORKERS] for worker in workers], state=2)]
    body += [template("heading").substitute(text=escape(visible(notice))) for notice in notices]
    return card(title, state, [], body)


def near(path: Path) -> str:
    """Return a path as people here call it: from the working directory, or from home."""
    for base, mark in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_relative_to(base):
            return f"{mark}{path.relative_to(base)}"
    return str(path)


def log_card(job_id: str, state: str, facts: Sequence[str], streams: Mapping[str, str]) -> str:
    """Return what a job wrote as HTML: text with colour sequences, by stream."""
    body = []
    for name, text in streams.items():
        body.append(template("heading").substitute(text=escape(name)))
        body.append(template("pre").substitute(kind=escape(name), text=to_html(text) or EMPTY))
    return card(f"Log of job {job_id}", state, facts, body)


def card(title: str, state: str, facts: Sequence[str], body: Sequence[str]) -> str:
    """Return a card: a title, a state in its colour, facts beside them, and HTML below."""
    return template("card").substitute(
        style=style(),
        title=template("title").substitute(text=escape(visible(title))),
        state=template("state").substitute(state=escape(state)),
        facts=" ".join(template("fact").substitute(text=escape(visible(fact))) for fact in facts),
        body="\n".join(body),
    )


def table(titles: Sequence[str], rows: Sequence[Sequence[object]], state: int) -> str:
    """Return a table; the column ``state`` has the colour of what it says."""
    heads = "".join(f"<th>{escape(title)}</th>" for title in titles)
    lines = []
    for row in rows:
        texts = [escape(cell(value)) for value in row]
        cells = [
            f'<td class="qc-is-{text}">{text}</td>' if n == state else f"<td>{text}</td>"
            for n, text in enumerate(texts)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return template("table").substitute(titles=heads, rows="\n".join(lines))


def _pre(kind: str, text: str) -> str:
    return template("pre").substitute(kind=kind, text=escape(text))


def _visible_lines(text: str) -> str:
    """Return text in which only newlines and tabs keep their meaning."""
    return "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in text.split("\n"))


def _attempts(job: JobRecord) -> str:
    most = f" of {job.max_retries}" if job.max_retries is not None else ""
    return f"{job.attempts}{most} attempt{'' if job.attempts == 1 and not most else 's'}"


def _attempt(attempt: AttemptRecord) -> list[object]:
    ran = None
    if attempt.started_at is not None and attempt.finished_at is not None:
        ran = span(attempt.finished_at - attempt.started_at)
    memory = None if attempt.max_rss_bytes is None else f"{attempt.max_rss_bytes / _MEBI:.0f} MiB"
    code = attempt.signal or attempt.exit_code
    return [attempt.number, attempt.outcome or "running", code, clock(attempt.started_at), ran, memory, attempt.error]


def clock(stamp: float | None) -> str | None:
    """Return a time as the reader's clock shows it."""
    return None if stamp is None else f"{datetime.fromtimestamp(stamp).astimezone():%Y-%m-%d %H:%M:%S}"
