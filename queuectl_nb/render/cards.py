"""Cards of jobs, worker pools, logs, waits and queues."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from queuectl_nb.model.attempt import AttemptRecord
from queuectl_nb.model.call import Kind
from queuectl_nb.model.displayed_command import displayed_command, listed_command
from queuectl_nb.model.job import JobRecord
from queuectl_nb.model.times import invalid_time
from queuectl_nb.render.ansi import fold_returns, strip_colours, to_html
from queuectl_nb.render.card_parts import Html, Rendering, bar, block, card, fill, frame, heading, table
from queuectl_nb.render.cell_outputs import CellFacts, remove_texts, render_displays
from queuectl_nb.render.formats import json_text
from queuectl_nb.render.json_shapes import dependency_texts
from queuectl_nb.render.progress import OutputProgress, format_duration
from queuectl_nb.render.sparkline import sparkline, sparkline_svg
from queuectl_nb.render.text_table import EMPTY, visible

__all__ = [
    "LogText",
    "RunStatus",
    "format_time",
    "job_card",
    "log_html",
    "pool_card",
    "queue_card",
    "short_path",
    "wait_card",
]

MAX_SHOWN_CHARS = 256 * 1024
"""Only the end of a longer text is shown."""
MAX_UNSWITCHED_LINE = 80
"""A text with a longer line gets a switch for wrapping: such a line may be wider than a notebook."""
_MEBI = 1024 * 1024
ATTEMPT_COLUMNS = ("attempt", "outcome", "exit", "started", "run time", "memory", "error")
WORKER_COLUMNS = {"name": "name", "pid": "pid", "state": "state", "job_id": "job", "jobs_done": "jobs done"}
"""Fields of a worker, and the titles of their columns."""
JOB_COLUMNS = ("id", "state", "attempts", "command", "updated")
MAX_COMMAND_CHARS = 100
OUTPUT_LINES = 8
"""Lines of output on a card."""


class RunStatus(NamedTuple):
    """A running attempt: seconds since its start, and the last line of its output."""

    elapsed_s: float
    output: OutputProgress

    def line(self) -> Rendering:
        """Return running time and progress bar."""
        text, fraction = f"running for {format_duration(self.elapsed_s, running=True)}", self.output.fraction
        return heading(text) if fraction is None else bar("progress", fraction, f"{text}, {fraction:.0%}")

    def parts(self) -> list[Rendering]:
        """Return running time, progress bar and last line of output."""
        last = self.output.line
        return [self.line(), *([Rendering(fill("last_line", text=last), visible(last))] if last else [])]


def job_card(
    job: JobRecord,
    attempts: Sequence[AttemptRecord],
    status: RunStatus | None = None,
    outputs: Mapping[str, str] | None = None,
    metrics: Sequence[tuple[str, float | None, Sequence[float]]] = (),
    *,
    static: bool = False,
    facts: Sequence[str] = (),
    hints: Sequence[str] = (),
    cell: CellFacts | None = None,
    artifacts: Sequence[str] = (),
    notebook: Path | None = None,
    any_end: Sequence[str] = (),
) -> Rendering:
    """Return a job with its attempts, the status of the running one, and outputs and metrics of the latest.

    ``metrics`` are name, last value and some values of each. ``static`` says on the card that it is not updated;
    ``hints`` say why it does not start, ``artifacts`` what files it has left, ``notebook`` where the executed notebook
    is, ``any_end`` which of the jobs in ``after`` need not complete. The order of the parts is
    fixed, so that the card changes little.
    """
    facts = [*([] if job.kind == Kind.COMMAND else [job.kind]), _attempt_count(job), *facts]
    delayed = str(job.state) in ("pending", "failed") and (job.run_at or 0) > job.updated_at
    facts += [f"due {format_time(job.run_at)}"] if delayed else []
    facts += [f"after {', '.join(dependency_texts(job.after, any_end))}"] if job.after else []
    facts += [f"on {job.worker}"] if job.worker and str(job.state) == "processing" else []
    facts += [f"as of {format_time(time.time())}, not updated"] if static and not job.is_finished else []
    parts = [status.line() if status else heading("; ".join([_summary(attempts), *hints]))]
    parts += [_command(job, cell)]
    parts += [_metrics(metrics)] if metrics else []
    parts += [block("error", job.error)] if job.error else []
    displays = [] if cell is None or status else cell.displays
    for name, output in (outputs or {}).items():
        lines = remove_texts(output, displays).rstrip().split("\n")
        if any(tail := lines[-OUTPUT_LINES:]):
            parts += [_output(name, tail)]
            parts += [heading(f"last {OUTPUT_LINES} lines; see '%queuectl log {job.id}'")] * (len(lines) > OUTPUT_LINES)
    if notebook is not None:
        parts += [heading(f"executed notebook: {notebook}")]
    if notebook is not None or any(each.get("output_type") == "execute_result" for each in displays):
        pass  # it is there already
    elif job.result_repr is not None and (cell is None or job.result_repr != "None"):
        parts += [block("result", job.result_repr)]
    elif job.result is not None:
        parts += [block("result", json_text(job.result, indent=1, ensure_ascii=False))]
    parts += map(heading, artifacts)
    if len(attempts) > 1:
        parts += [table(ATTEMPT_COLUMNS, [_attempt_row(each) for each in attempts], state_column=1)]
    parts += render_displays(displays)
    return card(f"Job {job.id}", str(job.state), facts, parts)


def _command(job: JobRecord, cell: CellFacts | None) -> Rendering:
    """Return the call or command; several lines, and the source of a cell, are folded behind the first line."""
    is_cell = job.kind == Kind.CELL
    if job.kind in {Kind.FUNCTION, Kind.NOTEBOOK}:
        return block("call" if job.kind == Kind.FUNCTION else "notebook", job.command, python=True)
    text = job.command if is_cell else displayed_command(job.command)
    lines = text.strip().split("\n")
    if not is_cell and len(lines) == 1:
        return block("command", text)
    kind = f"Python cell {cell.inputs if cell else ''}".rstrip() if is_cell else "command"
    title = f"{kind}: {lines[0][:MAX_COMMAND_CHARS]}" + (f" … ({len(lines)} lines)" if len(lines) > 1 else "")
    body = block("command", text, python=is_cell)
    return Rendering(fill("details", title=title, body=body.html), block(kind, text).text)


def _metrics(series: Iterable[tuple[str, float | None, Sequence[float]]]) -> Rendering:
    """Return metrics side by side: name, last value and a small line."""
    parts, texts = [], []
    for name, last, values in series:
        number = "" if last is None else f"{last:.6g}"
        parts.append(fill("metric", name=name, value=number, line=Html(sparkline_svg(values))))
        texts.append(visible(f"{name} {number} {sparkline(values)}".rstrip()))
    return Rendering(fill("metrics", parts=Html("".join(parts))), "metrics: " + ", ".join(texts))


def _output(name: str, lines: Sequence[str]) -> Rendering:
    text = "\n".join(lines)
    return Rendering(fill("pre", kind=name, text=Html(to_html(text))), block(name, strip_colours(text)).text)


def _summary(attempts: Sequence[AttemptRecord]) -> str:
    """Return how the latest attempt ended."""
    if not attempts:
        return "not started"
    last = attempts[-1]
    _, outcome, exit_, started, ran, memory, _ = _attempt_row(last)
    facts = [str(outcome).replace("_", " ") + (f" after {ran}" if ran else "")]
    facts += [f"exit code {exit_}"] if last.exit_code else []
    facts += [str(memory)] if memory else []
    return ", ".join([*facts, *([f"started {started}"] if started else [])])


def pool_card(title: str, state: str, workers: Iterable[Mapping[str, Any]], warnings: Iterable[str]) -> Rendering:
    """Return a pool: its workers and recent warnings."""
    rows = [[worker[key] for key in WORKER_COLUMNS] for worker in workers]
    tables = [table(list(WORKER_COLUMNS.values()), rows, state_column=2)] if rows else []
    return card(title, state, [], [*tables, *map(heading, warnings)])


def log_html(job_id: str, state: str, facts: Sequence[str], streams: Mapping[str, str]) -> Html:
    """Return a job's output; each stream is text that only :class:`~queuectl_nb.render.ansi.AnsiFilter` let through."""
    parts = []
    for name, text in streams.items():
        parts += [heading(name), Rendering(fill("pre", kind=name, text=Html(to_html(text) or EMPTY)), text)]
    return card(f"Log of job {job_id}", state, facts, parts).html


def wait_card(
    job: JobRecord | None, status: RunStatus | None, finished: Mapping[str, int], remaining: int, ending: str = ""
) -> Rendering:
    """Return a wait, for one ``job`` or for many; ``ending`` says how it ended."""
    if job is not None:
        parts = status.parts() if status and not ending else []
        return card(f"Job {job.id}", str(job.state), [ending] if ending else [], parts)
    done, good = sum(finished.values()), finished.get("completed", 0)
    total = max(1, done + remaining)
    states = ", ".join(f"{n:,} {state}" for state, n in finished.items() if n)
    text = f"{done:,} of {done + remaining:,} finished" + (f": {states}" if states else "")
    text += f"; {ending}" if ending else ""
    return frame([bar("finished jobs", good / total, text, (done - good) / total, kind="good")])


def queue_card(path: str, overview: Mapping[str, Any], jobs: Sequence[JobRecord]) -> Rendering:
    """Return a queue's counts and some of its jobs, for pages without widgets such as a saved notebook."""
    counts = {state: count for state, count in overview["counts"].items() if count}
    facts = [f"{count:,} {state}" for state, count in counts.items()] or ["no jobs"]
    facts.append(f"{len(overview['workers'])} worker(s)")
    facts += [f"paused: {', '.join(overview['paused'])}"] if overview["paused"] else []
    facts += overview["hints"]
    facts.append(f"as of {format_time(overview['at'])}")
    hidden = sum(counts.values()) - len(jobs)
    facts += [f"{hidden:,} more not shown"] if hidden > 0 else []
    rows = [
        [
            job.id,
            str(job.state),
            job.attempts,
            listed_command(job.command)[:MAX_COMMAND_CHARS],
            format_time(job.updated_at),
        ]
        for job in jobs
    ]
    state = "paused" if overview["paused"] else "open"
    return card(f"Queue {path}", state, facts, [table(JOB_COLUMNS, rows, state_column=1)])


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


class LogText(str):
    """A string whose display wraps lines, folds overwritten ones, and is scrolled to the end."""

    __slots__ = ()

    def _folded(self) -> str:
        return fold_returns(self[-MAX_SHOWN_CHARS:].encode("utf-8", "replace"))

    def _repr_html_(self) -> str:
        folded = self._folded()
        pre = fill("pre", kind="output", text=Html(to_html(folded) or EMPTY))
        is_wide = any(len(line) > MAX_UNSWITCHED_LINE for line in strip_colours(folded).splitlines())
        parts = [fill("wrap_switch")] * is_wide + [fill("tail", body=pre)]
        return frame([Rendering(part, "") for part in parts]).html

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(strip_colours(self._folded()) or EMPTY)
