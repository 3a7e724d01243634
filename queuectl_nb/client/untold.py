"""What came to rest since this process set it going, and nobody here was told of yet.

A job may be faster than the line, or the notebook's cell, that waits for all jobs: it must count there all the same,
and its failure must be told. So a wait for all begins where this process first enqueued, retried or started workers
after its last wait for all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from queuectl_nb.store.clock import revision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuectl_nb.store.store import Store

__all__ = ["UnreportedJobs"]


class UnreportedJobs:
    """What one process remembers of one queue; all handles of the same file share it."""

    _by_file: ClassVar[dict[tuple[str, tuple[int, int]], UnreportedJobs]] = {}

    def __init__(self, *, enabled: bool = True) -> None:
        """Begin with nothing set going; without ``keeps`` it stays so, as for the console, whose lines are apart."""
        self._enabled = enabled
        self._since: int | None = None
        self._reported: set[str] = set()

    @classmethod
    def for_store(cls, store: Store) -> UnreportedJobs:
        """Return the memory for the queue of ``store``."""
        return cls._by_file.setdefault((os.path.realpath(store.path), store.db.identity), cls())

    def start(self, store: Store, retried: Iterable[str] = ()) -> None:
        """Take note that jobs may run from now on; those that are ``retried`` will have another end to be told."""
        if self._since is None and self._enabled:
            self._since = revision(store.db)[0]
        self._reported.difference_update(retried)

    def since(self, store: Store) -> int:
        """Return the revision after which a wait for all counts what came to rest."""
        now = revision(store.db)[0]
        return now if self._since is None else min(self._since, now)

    def mark_reported(self, ids: Iterable[str]) -> None:
        """Take note that the end of these jobs was told by name."""
        if self._since is not None:
            self._reported.update(ids)

    def is_reported(self, job_id: str) -> bool:
        """Tell whether the job's end was told by name."""
        return job_id in self._reported

    def reset(self) -> None:
        """Take note that all was told."""
        self._since = None
        self._reported.clear()
