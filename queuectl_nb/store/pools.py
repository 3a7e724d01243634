"""Pools: a supervisor and its workers, and the size that it was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from queuectl_nb.store.connection import Database

__all__ = ["PoolRow", "clear_size", "read_pool", "request_size"]


class PoolRow(NamedTuple):
    """The executor of a pool, and the number of workers that its supervisor has yet to reach; None: nothing to do."""

    executor: str
    size: int | None


def read_pool(db: Database, host: str, pid: int) -> PoolRow | None:
    """Return the pool of a supervisor; None if it has no workers."""
    rows = db.query(Q.pool, {"host": host, "pool": pid})
    return PoolRow(*rows[0]) if rows else None


def request_size(db: Database, host: str, pid: int, size: int | None) -> None:
    """Ask a supervisor for ``size`` workers; None takes the request back."""
    with db.write() as connection:
        connection.execute(Q.request_size, {"host": host, "pool": pid, "size": size})


def clear_size(db: Database, host: str, pid: int, size: int) -> None:
    """Mark the request for ``size`` workers as done, unless another one has replaced it."""
    with db.write() as connection:
        connection.execute(Q.clear_size, {"host": host, "pool": pid, "size": size})
