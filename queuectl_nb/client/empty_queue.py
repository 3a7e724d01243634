"""What commands that read get where there is no queue yet."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

from queuectl_nb.client.queue import Queue

__all__ = ["EmptyQueue"]


class EmptyQueue(Queue):
    """An empty queue that stands for a missing file: it lies in a temporary folder, which ``close`` removes."""

    def __init__(self, path: Path) -> None:
        folder = tempfile.mkdtemp(prefix="queuectl-empty-")
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        super().__init__(Path(folder) / path.name, interpreter_first=False)
        self.path = self.store.path = path  # for messages

    def close(self) -> None:
        """Close and remove it."""
        super().close()
        self._remove()
