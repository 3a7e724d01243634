"""The card of a batch: a bar by state, the time left, running jobs, and failures by reason with buttons."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.displayed_command import listed_command
from queuectl_nb.model.state import FINISHED_STATES, UNFINISHED_STATES, State
from queuectl_nb.render.card_parts import Html, Rendering, card, fill, heading
from queuectl_nb.render.cards import format_time
from queuectl_nb.render.progress import format_duration
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from queuectl_nb.store.error_groups import FailedJobs

__all__ = ["MAX_SHOWN", "BatchView", "RunningRow", "batch_card"]

MAX_SHOWN = 5
"""Running jobs and groups of failures on a card."""
MAX_METRICS = 4
TEXT_BAR_CHARS = 40
ROW_EM = 1.8
"""Height of a row of a running job, as in cards.css."""
BAR_STATES = (State.COMPLETED, State.DEAD, State.CANCELLED, State.FAILED, State.PROCESSING)
"""States that fill the bar, from left to right; the others leave it empty."""
LEGEND_STATES = (*BAR_STATES, State.PENDING, State.BLOCKED)


class RunningRow(NamedTuple):
    """A running job in the card of a batch; ``fraction`` is None if it has not reported any progress."""

    id: str
    command: str
    elapsed_s: float
    fraction: float | None
    metrics: Mapping[str, float | None]
    line: str
    """The last line of its output."""

    def status(self) -> str:
        """Return the last metrics; without any, the last line of output."""
        last = [f"{name} {value:.4g}" for name, value in self.metrics.items() if value is not None]
        return ", ".join(last[:MAX_METRICS]) or self.line


class BatchView(NamedTuple):
    """What the card of a batch shows."""

    counts: Mapping[State, int]
    removed: int = 0
    """Jobs that were deleted."""
    facts: Sequence[str] = ()
    eta: str = ""
    hints: Sequence[str] = ()
    """Why its jobs wait although they could start."""
    running: Sequence[RunningRow] = ()
    """The first running jobs."""
    rows: int = 0
    """Rows to keep free for running jobs, so that the height of the card does not change with each of them."""
    groups: Sequence[FailedJobs] = ()

    @property
    def total(self) -> int:
        """The number of jobs."""
        return sum(self.counts.values())

    def count(self, states: frozenset[State]) -> int:
        """Return the number of jobs in one of these states."""
        return sum(self.counts.get(state, 0) for state in states)

    def state(self) -> tuple[str, str]:
        """Return the state of the whole batch, and its text."""
        if not self.total:
            return "unknown", "no jobs"
        if self.counts.get(State.PROCESSING):
            return "running", "running"
        if self.count(UNFINISHED_STATES):
            return "pending", "waiting"
        bad = self.total - self.counts.get(State.COMPLETED, 0)
        return ("dead", f"{bad:,} not completed") if bad else ("completed", "completed")


def batch_card(view: BatchView, *, card_id: str | None = None, static: bool = False) -> Rendering:
    """Return the card of a batch; ``card_id`` adds buttons, ``static`` says that it is not updated."""
    unfinished = view.count(UNFINISHED_STATES)
    facts = [*view.facts, *([f"{view.removed:,} deleted"] if view.removed else [])]
    facts += [f"as of {format_time(time.time())}, not updated"] if static and unfinished else []
    number = view.total + view.removed
    title = f"Batch of {number:,} job{'' if number == 1 else 's'}"
    state, text = view.state()
    parts = [_bar(view), _legend(view)] if view.total else []
    parts += map(heading, view.hints)
    if unfinished and (view.running or view.rows):
        parts.append(_running(view))
    if view.groups:
        parts.append(_groups(view.groups, card_id))
    return card(title, state, facts, parts, state_text=text, actions=_actions(view, card_id))


def _actions(view: BatchView, card_id: str | None) -> Html:
    """Return the buttons for the whole batch; those that have no effect now are disabled."""
    if card_id is None or not view.total:
        return Html("")
    stopped = view.count(frozenset({State.FAILED, State.DEAD, State.CANCELLED}))
    retry = _button(card_id, "retry", f"Run {stopped:,} job(s) that did not complete again", enabled=stopped > 0)
    unfinished = view.count(UNFINISHED_STATES)
    cancel = _button(card_id, "cancel", f"Cancel {unfinished:,} unfinished job(s)", enabled=unfinished > 0)
    return fill("actions", buttons=Html(retry + cancel))


def _button(card_id: str, action: str, title: str, *, enabled: bool = True, error: str = "") -> Html:
    values = {"card": card_id, "action": action, "error": error, "title": title, "text": action.capitalize()}
    return fill("button", **values, disabled=Html("" if enabled else " disabled"))


def _bar(view: BatchView) -> Rendering:
    finished = view.count(FINISHED_STATES)
    filled = [(state, n) for state in BAR_STATES if (n := view.counts.get(state, 0))]
    segments = [fill("segment", state=state, percent=f"{100 * n / view.total:.4g}") for state, n in filled]
    percent = f"{100 * finished / view.total:.4g}"
    html = fill("segments", segments=Html("".join(segments)), percent=percent)
    good, rest = (round(TEXT_BAR_CHARS * n / view.total) for n in (finished, view.total - finished))
    return Rendering(html, f"[{'█' * good}{'░' * rest}]")


def _legend(view: BatchView) -> Rendering:
    """Return how many have finished, the time left, and the counts by state."""
    present = [state for state in LEGEND_STATES if view.counts.get(state)]
    keys = [fill("key", state=state, text=f"{view.counts[state]:,} {state}") for state in present]
    done = f"{view.count(FINISHED_STATES):,} of {view.total:,} finished"
    html = fill("legend", done=done, eta=view.eta, keys=Html(" ".join(keys)))
    counts = ", ".join(f"{view.counts[state]:,} {state}" for state in present)
    return Rendering(html, visible("; ".join([f"{done}: {counts}", *([view.eta] if view.eta else [])])))


def _running(view: BatchView) -> Rendering:
    rows, lines = [], []
    for job in view.running:
        elapsed, command = format_duration(job.elapsed_s, running=True), listed_command(job.command)
        status = job.status()
        progress = Html("")
        if job.fraction is not None:
            progress = fill("bar", label="progress", percent=f"{100 * job.fraction:.4g}", bad="0", kind="busy")
        values = {"id": job.id, "command": command, "elapsed": elapsed, "progress": progress, "status": status}
        rows.append(fill("running_job", **values))
        done = [] if job.fraction is None else [f"{job.fraction:.0%}"]
        lines.append(visible("  ".join([job.id, *done, elapsed, *([status] if status else []), command])))
    if (more := view.counts.get(State.PROCESSING, 0) - len(view.running)) > 0:
        rows.append(fill("more", text=f"and {more:,} more running"))
        lines.append(f"and {more:,} more")
    height = f"{ROW_EM * max(len(rows), view.rows):.4g}"
    return Rendering(fill("running_jobs", rows=Html("".join(rows)), height=height), "\n".join(["running:", *lines]))


def _groups(groups: Sequence[FailedJobs], card_id: str | None) -> Rendering:
    """Return the largest groups of failures, each with its button."""
    rows, lines = [], []
    for each in groups[:MAX_SHOWN]:
        title = f"Run these {each.count:,} job(s) again"
        button = Html("")
        if card_id is not None:
            retry = _button(card_id, "retry", title, error=each.key)
            button = fill("actions", buttons=retry)
        reason = each.reason.replace("_", " ")
        values = {"count": f"{each.count:,}", "reason": reason, "message": each.message or "", "example": each.example}
        rows.append(fill("reason", **values, button=button))
        lines.append(visible(f"{each.count:,} {reason}: {each.message} (such as {each.example}; error {each.key})"))
    if (more := len(groups) - MAX_SHOWN) > 0:
        rows.append(fill("more", text=f"and {more:,} more reasons"))
        lines.append(f"and {more:,} more reasons")
    return Rendering(fill("reasons", rows=Html("".join(rows))), "\n".join(["failures by reason:", *lines]))
