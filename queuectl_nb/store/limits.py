"""Limits: how many jobs of a queue may run at a time. Claims keep them in their own transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from queuectl_nb.store.connection import Database

__all__ = ["Limit", "read_limits", "set_limit"]


class Limit(NamedTuple):
    """A queue of which at most ``limit`` jobs may run at a time."""

    queue: str
    limit: int
    running: int


def read_limits(db: Database) -> list[Limit]:
    """Return the limited queues, by name."""
    return [Limit(*row) for row in db.query(Q.limits)]


def set_limit(db: Database, queue: str, limit: int | None) -> None:
    """Let at most ``limit`` jobs of ``queue`` run at a time, any number if None; running jobs continue."""
    with db.write() as connection:
        connection.execute(Q.drop_limit if limit is None else Q.set_limit, {"queue": queue, "n": limit})
