"""Table messages for the pages of a dashboard: of the rows in view, only those that the page does not have yet."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.selection import selection_of
from queuectl_nb.model.displayed_command import listed_command
from queuectl_nb.notebook.dashboard.viewers import UNKNOWN_VIEW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.client.job_list import JobList
    from queuectl_nb.model.job import JobRecord

__all__ = ["FIELDS", "TableFeed"]

FIELDS = (
    "id",
    "state",
    "attempts",
    "max_retries",
    "command",
    "queue",
    "priority",
    "started_at",
    "finished_at",
    "updated_at",
    "metrics",
)
"""The values of a row, after its key and before ``values``, those of a metric; times in epoch seconds."""
RESEND_INTERVAL_S = 1.0
"""An unknown page is sent its rows again this often: the first message may have arrived before it was loaded."""
MAX_ROWS = 200
"""Limit of rows per request of a page."""
INITIAL_ROWS = 40


@dataclass
class _View:
    """What one page shows, and the revision of each row that it has, by key."""

    first: int = 0
    count: int = INITIAL_ROWS
    top: bool = True
    sequence: int = 0
    sent_at: float = 0.0
    revisions: dict[int, int] = field(default_factory=dict)
    sent: tuple[Any, ...] = ()


class TableFeed:
    """Turns the windows of a :class:`JobList` into messages for each page. For one thread."""

    def __init__(self, jobs: JobList) -> None:
        self._jobs = jobs
        self._views: dict[str, _View] = {}
        self._scroll_to_top = False

    def request(self, name: str, *, first: int, count: int, top: bool, reload: bool) -> bool:
        """Set which rows a page shows; return whether anything has to be sent. ``reload``: the page has no rows."""
        view = self._views.get(name)
        changed = view is None or reload
        if view is None or reload:
            view = self._views[name] = _View()
        window = (max(0, first), max(1, min(count, MAX_ROWS)), top)
        changed = changed or window != (view.first, view.count, view.top)
        view.first, view.count, view.top = window
        return changed

    def keep_views(self, names: Sequence[str]) -> None:
        """Forget all other pages; if they return, they are sent all rows."""
        self._views = {name: view for name, view in self._views.items() if name in names}

    def scroll_to_top(self) -> None:
        """Show the beginning of the list on all pages."""
        for view in self._views.values():
            view.first, view.top = 0, True
        self._scroll_to_top = True

    def messages(self) -> list[dict[str, Any]]:
        """Return one message for each page that lacks something."""
        found = [message for name, view in self._views.items() if (message := self._message(name, view))]
        self._scroll_to_top = False
        return found

    def _message(self, name: str, view: _View) -> dict[str, Any] | None:
        window = self._jobs.window(view.first, view.count, top=view.top)
        jobs = window.jobs or []
        changed = [job for job in jobs if view.revisions.get(job.seq) != job.rev]
        keys = None if window.jobs is None else [job.seq for job in jobs]
        job_filter = self._jobs.filter
        state = (
            *(window.total, window.first, keys, window.searching, window.frozen_at is None),
            *(job_filter, self._scroll_to_top),
        )
        resend = name == UNKNOWN_VIEW and time.monotonic() - view.sent_at > RESEND_INTERVAL_S
        if not changed and state == view.sent and not resend:
            return None
        view.sent_at = time.monotonic()
        view.sent = state
        if keys is not None:
            view.revisions = {job.seq: job.rev for job in jobs}
        view.sequence = 1 if name == UNKNOWN_VIEW else view.sequence + 1
        if name == UNKNOWN_VIEW:
            changed = list(jobs)  # any page may be listening, and has no rows yet
        values = self._jobs.metric_values(changed)
        filtered = bool(selection_of(job_filter))
        return {
            "kind": "rows",
            "view": name,
            "sequence": view.sequence,
            "total": window.total,
            "first": window.first,
            "keys": keys,
            "fields": (*FIELDS, "values"),
            "rows": [[*_row(job), values.get(job.seq, ())] for job in changed],
            "sort": {"field": job_filter.sort, "reverse": job_filter.reverse},
            "searching": window.searching,
            "frozen_at": window.frozen_at,
            "top": self._scroll_to_top,
            "empty": "No job matches the filter." if filtered else "No jobs yet. Enqueue one below.",
        }


def _row(job: JobRecord) -> list[Any]:
    values = [getattr(job, name) for name in FIELDS]
    values[FIELDS.index("command")] = listed_command(job.command)
    values[FIELDS.index("state")] = str(job.state)
    return [job.seq, *values]
