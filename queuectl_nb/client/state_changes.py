"""Changes of the states of jobs, read without reading the unchanged ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store

__all__ = ["StateChanges"]


class StateChanges:
    """The jobs that changed between two calls of :meth:`read`."""

    def __init__(self, store: Store) -> None:
        """Read from ``store``."""
        self._store = store
        self._seen: tuple[int, int] | None = None
        """Revision and number of deletions at the last call."""

    def read(self) -> list[tuple[str, State]] | None:
        """Return id and state of the jobs that have changed since the last call; a job may be returned twice.

        None, at the first call and after a deletion, which leaves no trace: read again the states of all jobs of
        interest.
        """
        seen, self._seen = self._seen, self._store.db.revision()
        if seen is None or seen[1] != self._seen[1]:
            return None
        return self._store.reader.changed_since(list(State), seen[0]) if seen != self._seen else []
