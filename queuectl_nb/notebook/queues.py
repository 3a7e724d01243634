"""The queues that a shell has open: one a file, however many lines name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.client.queue import Queue
from queuectl_nb.store.paths import find_queue

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OpenQueues"]


class OpenQueues:
    """Opens queues and keeps them; a session's opener."""

    def __init__(self) -> None:
        self._open: dict[tuple[Path, bool], Queue] = {}

    def __call__(self, path: str | None, allow_network_fs: bool) -> Queue:
        """Return the queue of ``path``, or of where the notebook is; one whose file was replaced is opened anew."""
        key = (find_queue(path), allow_network_fs)
        found = self._open.get(key)
        if found is None or found.store.db.is_replaced():
            found = self._open[key] = Queue(path, allow_network_fs=allow_network_fs)
        return found

    def close(self) -> None:
        """Let go of all of them; workers and jobs go on."""
        for queue in self._open.values():
            queue.close()
        self._open.clear()
