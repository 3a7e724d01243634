"""The queues in which jobs wait, and those that are paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from queuectl_nb.store.connection import Database

__all__ = ["read_waiting"]


def read_waiting(db: Database) -> tuple[dict[str, int], set[str]]:
    """Return the queues with pending, failed or running jobs, and the paused ones (``"*"``: all).

    The value of a queue is its number of pending and failed jobs. Light enough for every enqueue.
    """
    with db.read() as connection:
        return dict(connection.execute(Q.waiting_jobs)), {name for (name,) in connection.execute(Q.paused)}
