"""Housekeeping of a queue beside running workers: remove old jobs and stray files, and give free space back."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import Busy
from queuectl_nb.store.maintenance import remove_strays, shrink

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store

__all__ = ["Housekeeping"]

PRUNE_INTERVAL_S = 600.0
MAX_PRUNED_JOBS = 500
"""Maximum number of jobs pruned at once."""
MAX_SHRINK_S = 0.1
"""Maximum time for shrinking the file in each run."""


class Housekeeping:
    """Called by a supervisor in each maintenance run."""

    def __init__(self, store: Store) -> None:
        """Work on ``store``; the first prune is due after :data:`PRUNE_INTERVAL_S`."""
        self._store = store
        self._prune_at = time.monotonic() + PRUNE_INTERVAL_S

    def run(self, retention_days: float) -> None:
        """Prune and remove stray files if that is due, and shrink the file for a moment."""
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_INTERVAL_S
            if retention_days:
                self._prune(retention_days * 86_400)
            remove_strays(self._store.db, time.time())
        with contextlib.suppress(Busy):
            shrink(self._store.db, MAX_SHRINK_S)

    def _prune(self, age_s: float) -> None:
        """Remove some old jobs; continue in the next run if there are more."""
        removed = 0
        for number, tokens in self._store.jobs.prune(age_s, time.time()):
            for token in tokens:
                self._store.spool.remove(token)
            removed += number
            if removed >= MAX_PRUNED_JOBS:
                self._prune_at = 0.0
                break
