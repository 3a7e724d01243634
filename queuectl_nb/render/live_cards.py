"""What changes while one looks: a running job's time, progress and last line; how far a wait has come."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.render.cards import style, template
from queuectl_nb.render.durations import span
from queuectl_nb.render.progress import Glimpse
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.model.job import JobRecord

__all__ = ["Live", "blocks", "live_html", "live_text", "wait_html", "wait_text"]

_FULL = 100
_BLOCKS = 30


class Live(NamedTuple):
    """A job in motion: seconds that its running attempt has taken (None: none runs), and the end of its output."""

    elapsed: float | None = None
    seen: Glimpse = Glimpse()


def live_html(live: Live) -> str:
    """Return the part of a card that moves; nothing for a job that does not run."""
    if live.elapsed is None:
        return ""
    share = live.seen.share
    bar = "" if share is None else _bar("progress", share)
    said = f"running for {span(live.elapsed, running=True)}"
    if share is not None:
        said += f", {share:.0%}"
    html = template("live").substitute(bar=bar, text=escape(said))
    if live.seen.line:
        html += "\n" + template("line").substitute(text=escape(live.seen.line))
    return html


def live_text(live: Live) -> str:
    """Return the same as a line of plain text."""
    if live.elapsed is None:
        return ""
    parts = [f"running for {span(live.elapsed, running=True)}"]
    parts += [] if live.seen.share is None else [f"{live.seen.share:.0%}"]
    parts += [live.seen.line] if live.seen.line else []
    return ", ".join(parts)


def wait_html(job: JobRecord | None, live: Live, rested: Mapping[str, int], left: int, end: str = "") -> str:
    """Return a wait as HTML: of one job what it does, of many how many are at rest; ``end`` says how it ended."""
    if job is not None:
        state = template("state").substitute(state=escape(str(job.state)))
        title = template("title").substitute(text=escape(visible(f"Job {job.id}")))
        body = template("live").substitute(bar=f"{title} {state}", text=escape(end))
        if not end:
            body += live_html(live)
    else:
        done = sum(rested.values())
        total = max(1, done + left)
        good = rested.get("completed", 0)
        bar = _bar("jobs at rest", good / total, (done - good) / total, kind="good")
        body = template("live").substitute(bar=bar, text=escape(wait_text(rested, left, end)))
    return template("wait").substitute(style=style(), body=body)


def wait_text(rested: Mapping[str, int], left: int, end: str = "") -> str:
    """Return how many jobs are at rest, and how, as a line of plain text."""
    done = sum(rested.values())
    states = ", ".join(f"{n} {state}" for state, n in rested.items() if n)
    text = f"{done} of {done + left} at rest" + (f": {states}" if states else "")
    return f"{text}; {end}" if end else text


def blocks(share: float) -> str:
    """Return a bar of text."""
    full = int(_BLOCKS * share)
    return "█" * full + "░" * (_BLOCKS - full)


def _bar(label: str, share: float, bad: float = 0.0, *, kind: str = "busy") -> str:
    return template("bar").substitute(label=label, percent=f"{_FULL * share:.4g}", bad=f"{_FULL * bad:.4g}", kind=kind)
