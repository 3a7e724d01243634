"""The queue's revision, which every transaction moves on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from queuectl_nb.store.connection import Database

__all__ = ["revision"]


def revision(db: Database) -> tuple[int, int]:
    """Return the queue's revision and its number of deletions: unchanged means nothing to show anew."""
    with db.read() as connection:
        found: tuple[int, int] = connection.execute(Q.revision).fetchone()
        return found
