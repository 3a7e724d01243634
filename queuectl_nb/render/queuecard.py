"""A queue at one moment as HTML and as text: what a dashboard is where nothing is live, as in a saved notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.render.cards import card, clock, table
from queuectl_nb.render.text_table import table as plain_table
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.job import JobRecord

__all__ = ["queue_card", "queue_lines"]

COLUMNS = ("id", "state", "attempts", "command", "updated")
LONGEST = 100
"""Characters of a command that are shown."""


def queue_card(path: str, overview: Mapping[str, Any], jobs: Sequence[JobRecord]) -> str:
    """Return a queue's counts and the given jobs as HTML; ``overview`` is that of a watch."""
    body = [table(COLUMNS, _rows(jobs), state=1)]
    return card(f"Queue {path}", _state(overview), _facts(overview, jobs), body)


def queue_lines(path: str, overview: Mapping[str, Any], jobs: Sequence[JobRecord]) -> str:
    """Return the same as plain text."""
    head = [f"Queue {visible(path)}: {_state(overview)}", ", ".join(_facts(overview, jobs))]
    return "\n".join([*head, *plain_table(COLUMNS if jobs else (), _rows(jobs))])


def _state(overview: Mapping[str, Any]) -> str:
    return "paused" if overview["paused"] else "open"


def _facts(overview: Mapping[str, Any], jobs: Sequence[JobRecord]) -> list[str]:
    counts = {state: count for state, count in overview["counts"].items() if count}
    facts = [f"{count:,} {state}" for state, count in counts.items()] or ["no jobs"]
    facts.append(f"{len(overview['workers'])} worker(s)")
    facts += [f"paused: {', '.join(overview['paused'])}"] if overview["paused"] else []
    left = sum(counts.values()) - len(jobs)
    return [*facts, f"as of {clock(overview['at'])}", *([f"{left:,} more not shown"] if left > 0 else [])]


def _rows(jobs: Sequence[JobRecord]) -> list[list[object]]:
    return [[job.id, str(job.state), job.attempts, job.command[:LONGEST], clock(job.updated_at)] for job in jobs]
