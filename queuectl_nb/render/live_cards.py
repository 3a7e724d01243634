"""The parts of cards that change: a running attempt, a wait, the state of a queue. As HTML and as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.render.cards import Html, card, fill, format_time, style, table
from queuectl_nb.render.progress import OutputProgress, format_duration
from queuectl_nb.render.text_table import table_lines, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.job import JobRecord

__all__ = ["RunStatus", "queue_html", "queue_text", "run_html", "run_text", "text_bar", "wait_html", "wait_text"]

_BAR_CHARS = 30
COLUMNS = ("id", "state", "attempts", "command", "updated")
MAX_COMMAND_CHARS = 100


class RunStatus(NamedTuple):
    """A running attempt: seconds since its start (None: nothing is running) and the end of its output."""

    elapsed_s: float | None = None
    output: OutputProgress = OutputProgress()

    @property
    def facts(self) -> list[str]:
        """Running time and progress in words."""
        if self.elapsed_s is None:
            return []
        facts = [f"running for {format_duration(self.elapsed_s, running=True)}"]
        return facts if self.output.fraction is None else [*facts, f"{self.output.fraction:.0%}"]


def run_html(status: RunStatus) -> str:
    """Return running time, progress bar and last line of output; empty if nothing is running."""
    if status.elapsed_s is None:
        return ""
    fraction, line = status.output.fraction, status.output.line
    bar = Html() if fraction is None else _bar("progress", fraction)
    html = fill("run", bar=bar, text=", ".join(status.facts))
    return f"{html}\n{fill('last_line', text=line)}" if line else html


def run_text(status: RunStatus) -> str:
    """Return the same as a line of plain text."""
    line = status.output.line if status.facts else ""
    return ", ".join([*status.facts, *([line] if line else [])])


def wait_html(
    job: JobRecord | None, status: RunStatus, finished: Mapping[str, int], remaining: int, ending: str = ""
) -> Html:
    """Return a wait, for one ``job`` or for many; ``ending`` says how it ended."""
    if job is not None:
        head = f"{fill('title', text=f'Job {job.id}')} {fill('state', state=str(job.state), text=str(job.state))}"
        body = fill("run", bar=Html(head), text=ending) + ("" if ending else run_html(status))
    else:
        done = sum(finished.values())
        total = max(1, done + remaining)
        good = finished.get("completed", 0)
        bar = _bar("finished jobs", good / total, (done - good) / total, kind="good")
        body = fill("run", bar=bar, text=wait_text(finished, remaining, ending))
    return fill("wait", style=style(), body=Html(body))


def wait_text(finished: Mapping[str, int], remaining: int, ending: str = "") -> str:
    """Return the number of finished jobs, in total and by state."""
    done = sum(finished.values())
    states = ", ".join(f"{n} {state}" for state, n in finished.items() if n)
    text = f"{done} of {done + remaining} finished" + (f": {states}" if states else "")
    return f"{text}; {ending}" if ending else text


def text_bar(fraction: float) -> str:
    """Return a progress bar of block characters."""
    full = int(_BAR_CHARS * fraction)
    return "█" * full + "░" * (_BAR_CHARS - full)


def _bar(label: str, fraction: float, bad: float = 0.0, *, kind: str = "busy") -> Html:
    return fill("bar", label=label, percent=f"{100 * fraction:.4g}", bad=f"{100 * bad:.4g}", kind=kind)


def queue_html(path: str, overview: Mapping[str, Any], jobs: Sequence[JobRecord]) -> Html:
    """Return a queue's counts and some of its jobs, for pages without widgets such as a saved notebook."""
    facts = _queue_facts(overview, jobs)
    return card(f"Queue {path}", _queue_state(overview), facts, [table(COLUMNS, _job_rows(jobs), state_column=1)])


def queue_text(path: str, overview: Mapping[str, Any], jobs: Sequence[JobRecord]) -> str:
    """Return the same as plain text."""
    head = [f"Queue {visible(path)}: {_queue_state(overview)}", ", ".join(_queue_facts(overview, jobs))]
    return "\n".join([*head, *table_lines(COLUMNS if jobs else (), _job_rows(jobs))])


def _queue_state(overview: Mapping[str, Any]) -> str:
    return "paused" if overview["paused"] else "open"


def _queue_facts(overview: Mapping[str, Any], jobs: Sequence[JobRecord]) -> list[str]:
    counts = {state: count for state, count in overview["counts"].items() if count}
    facts = [f"{count:,} {state}" for state, count in counts.items()] or ["no jobs"]
    facts.append(f"{len(overview['workers'])} worker(s)")
    facts += [f"paused: {', '.join(overview['paused'])}"] if overview["paused"] else []
    hidden = sum(counts.values()) - len(jobs)
    return [*facts, f"as of {format_time(overview['at'])}", *([f"{hidden:,} more not shown"] if hidden > 0 else [])]


def _job_rows(jobs: Sequence[JobRecord]) -> list[list[object]]:
    return [
        [job.id, str(job.state), job.attempts, job.command[:MAX_COMMAND_CHARS], format_time(job.updated_at)]
        for job in jobs
    ]
