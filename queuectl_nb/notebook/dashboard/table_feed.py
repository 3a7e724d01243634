"""What each page is sent of the table: the window that it shows, and of that only what it has not got yet."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from queuectl_nb.notebook.dashboard.viewers import ANYBODY

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
)
"""What a row holds, in this order, behind its key; times in epoch seconds."""
LONGEST = 240
"""Characters of a command that a row shows."""
AGAIN = 1.0
"""Seconds after which a page that cannot be heard is sent the same again: it may have come too late for it."""
MOST = 200
"""Rows that a page may ask for at once."""
ROWS_AT_FIRST = 40


@dataclass
class _Page:
    """What one page shows and has: the revision of each row of its window, by key."""

    first: int = 0
    count: int = ROWS_AT_FIRST
    top: bool = True
    sent: int = 0
    sent_at: float = 0.0
    has: dict[int, int] = field(default_factory=dict)
    shown: tuple[Any, ...] = ()


class TableFeed:
    """Turns the windows of a :class:`JobList` into messages, a page at a time. For one thread."""

    def __init__(self, jobs: JobList) -> None:
        """Show ``jobs``."""
        self._jobs = jobs
        self._pages: dict[str, _Page] = {}
        self._go_up = False

    def ask(self, page: str, *, first: int, count: int, top: bool, anew: bool) -> bool:
        """Take what a page shows; ``anew`` for one that has no rows yet. Return whether there is something to send."""
        known = self._pages.get(page)
        fresh = known is None or anew
        if known is None or anew:
            known = self._pages[page] = _Page()
        wanted = (max(0, first), max(1, min(count, MOST)), top)
        fresh = fresh or wanted != (known.first, known.count, known.top)
        known.first, known.count, known.top = wanted
        return fresh

    def keep(self, pages: Sequence[str]) -> None:
        """Forget all other pages: who comes back is sent everything."""
        self._pages = {page: known for page, known in self._pages.items() if page in pages}

    def to_the_top(self) -> None:
        """Send all pages to the beginning: something else is listed."""
        for page in self._pages.values():
            page.first, page.top = 0, True
        self._go_up = True

    def messages(self) -> list[dict[str, Any]]:
        """Return what there is to send now: nothing for a page that has it all."""
        found = [message for name, page in self._pages.items() if (message := self._message(name, page))]
        self._go_up = False
        return found

    def _message(self, name: str, page: _Page) -> dict[str, Any] | None:
        window = self._jobs.window(page.first, page.count, top=page.top)
        jobs = window.jobs or []
        fresh = [job for job in jobs if page.has.get(job.seq) != job.rev]
        keys = None if window.jobs is None else [job.seq for job in jobs]
        wanted = self._jobs.filter
        shown = (window.total, window.first, keys, window.searching, window.frozen_at is None, wanted, self._go_up)
        again = name == ANYBODY and time.monotonic() - page.sent_at > AGAIN
        if not fresh and shown == page.shown and not again:
            return None
        page.sent_at = time.monotonic()
        page.shown = shown
        if keys is not None:
            page.has = {job.seq: job.rev for job in jobs}
        page.sent = 1 if name == ANYBODY else page.sent + 1
        if name == ANYBODY:
            fresh = list(jobs)  # who comes now has none of them
        return {
            "kind": "rows",
            "view": name,
            "n": page.sent,
            "total": window.total,
            "first": window.first,
            "keys": keys,
            "fields": FIELDS,
            "rows": [_row(job) for job in fresh],
            "sort": {"field": wanted.sort, "reverse": wanted.reverse},
            "searching": window.searching,
            "still": window.frozen_at,
            "top": self._go_up,
            "empty": _nothing(narrowed=any((wanted.state, wanted.queue, wanted.text))),
        }


def _row(job: JobRecord) -> list[Any]:
    values = [getattr(job, name) for name in FIELDS]
    command = job.command
    values[FIELDS.index("command")] = command if len(command) <= LONGEST else command[:LONGEST] + "…"
    values[FIELDS.index("state")] = str(job.state)
    return [job.seq, *values]


def _nothing(*, narrowed: bool) -> str:
    """Return what is said where there are no rows."""
    return "No job is like that." if narrowed else "No jobs yet: enqueue one below."
