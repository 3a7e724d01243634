"""Reads why jobs failed, in a thread of its own: a hundred thousand failures take a fraction of a second."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.render.json_shapes import error_group_json
from queuectl_nb.store.error_groups import read_error_groups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.client.changes import ChangeWatcher, Version
    from queuectl_nb.store.job_filter import Filter

__all__ = ["MAX_GROUPS", "ErrorFeed"]

MAX_GROUPS = 50
"""Groups in a view."""
MIN_INTERVAL_S = 1.0
COST_FACTOR = 20
"""The groups of a changed queue are read again at most after this many times the duration of the last read."""
NO_ERRORS: Mapping[str, Any] = {"errors": [], "more": False}


class ErrorFeed:
    """The groups of failed jobs in a filter, whatever its states and group."""

    def __init__(self, watch: ChangeWatcher) -> None:
        self.latest: Mapping[str, Any] = NO_ERRORS
        """``errors``, the largest groups first, and whether there are ``more``."""
        self._watch = watch
        self._thread: threading.Thread | None = None
        self._read: tuple[Filter, Version] | None = None
        self._due_at = 0.0

    def update(self, job_filter: Filter, version: Version, *, failures: int) -> None:
        """Start reading the groups if they may have changed; ``latest`` has them later."""
        wanted = (replace(job_filter, state=(), error=None, sort=None, reverse=False), version)
        if wanted == self._read or (self._thread is not None and self._thread.is_alive()):
            return
        if self._read is not None and wanted[0] == self._read[0] and time.monotonic() < self._due_at:
            return
        self._read = wanted
        if not failures:
            self.latest = NO_ERRORS
            return
        self._thread = threading.Thread(target=self._run, args=(wanted[0],), name="queuectl-errors", daemon=True)
        self._thread.start()

    def _run(self, job_filter: Filter) -> None:
        start = time.monotonic()
        try:
            found = read_error_groups(self._watch.queue.store.db, job_filter, MAX_GROUPS + 1)
            groups = [error_group_json(each) for each in found[:MAX_GROUPS]]
            self.latest = {"errors": groups, "more": len(found) > MAX_GROUPS}
        except QueuectlError:
            self._read = None  # the feed reports that the queue cannot be read
        finally:
            self._watch.close()
            self._due_at = time.monotonic() + max(MIN_INTERVAL_S, COST_FACTOR * (time.monotonic() - start))
