"""What a command line is about besides its own words: which queue, and how the answer should look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client.queue import Queue

__all__ = ["FORMATS", "Context"]

FORMATS = ("table", "json", "jsonl", "csv")


class Context:
    """One command line, given to the commands as click's ``ctx.obj``.

    Attributes
    ----------
    db
        What ``--db`` named, or None.
    format
        How the answer is to be shown, one of :data:`FORMATS`.
    holds
        Whether the face hands values on to a user who keeps them: what is about to be removed is read before.
    tell
        Says something to a person while a command is at work; None where nobody sits.
    """

    def __init__(self, opener: Callable[[str | None, bool], Queue]) -> None:
        """Open the queue, when a command first needs it, by ``opener(path or None, allow_network_fs)``."""
        self.db: str | None = None
        self.allow_network_fs = False
        self.format = "table"
        self.wants_value = False
        self.notify: Callable[[str], None] | None = None
        self.open_queue = opener
        self._format_option: str | None = None
        self._queue: Queue | None = None

    def queue(self) -> Queue:
        """Return the queue, opened once."""
        if self._queue is None:
            self._queue = self.open_queue(self.db, self.allow_network_fs)
        return self._queue

    def close(self) -> None:
        """Close the queue, if a command opened it: SQLite tidies up behind the last one."""
        if self._queue is not None:
            self._queue.close()

    def existing_queue(self) -> Queue | None:
        """Return the queue if its file is there: looking (for completion) must not make one."""
        from queuectl_nb.store.paths import find_queue

        return self.queue() if find_queue(self.db).is_file() else None

    def choose_format(self, name: str) -> None:
        """Take a format; refuse a second, different one (``--json --format csv``)."""
        if self._format_option not in (None, name):
            msg = f"--format {name} contradicts --format {self._format_option} (--json is short for --format json)"
            raise BadInput(msg)
        self.format = self._format_option = name
