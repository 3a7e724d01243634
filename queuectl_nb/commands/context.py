"""The context of one command line: which queue, and which output format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment, BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client.cell import Cell
    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue

__all__ = ["FORMATS", "Context"]

FORMATS = ("table", "json", "jsonl", "csv")


class Context:
    """The context of one command line; commands receive it as click's ``ctx.obj``.

    Attributes
    ----------
    db
        The value of ``--db``, or None.
    format
        The output format, one of :data:`FORMATS`.
    wants_value
        Whether the caller uses ``value()`` of the result, so that jobs must be read before they are deleted.
    program
        How a command of the user begins, for hints: ``queuectl``, or ``%queuectl`` in a notebook.
    notify
        Shows a message while a command runs; None if there is no terminal.
    cell
        The cell of a notebook that is to run as a job, or None.
    pool
        Workers that the command has started; they are stopped by :meth:`close`, if they still run.
    """

    def __init__(self, open_queue: Callable[[str | None, bool, bool], Queue]) -> None:
        """Open the queue, when a command first needs it, by ``open_queue(path or None, allow_network_fs, create)``."""
        self.db: str | None = None
        self.allow_network_fs = False
        self.format = "table"
        self.wants_value = False
        self.program = "queuectl"
        self.notify: Callable[[str], None] | None = None
        self.open_queue = open_queue
        self.cell: Cell | None = None
        self._format_option: str | None = None
        self.pool: WorkerPool | None = None
        self._queue: Queue | None = None

    def queue(self, *, create: bool = False) -> Queue:
        """Return the queue, opened at the first call; raise ``BadEnvironment`` if it is missing and not to be created.

        Only commands that put something into a queue create one, so that a mistyped path is noticed.
        """
        if self._queue is None:
            self._queue = self.open_queue(self.db, self.allow_network_fs, create)
        return self._queue

    def queue_or_reason(self) -> Queue | str:
        """Return the queue, or why there is none if its file does not exist."""
        from queuectl_nb.store.paths import find_queue, is_missing

        try:
            return self.queue()
        except BadEnvironment as error:
            if not is_missing(find_queue(self.db)):
                raise
            return str(error)

    def close(self) -> None:
        """Close the queue if it was opened, and stop workers that nobody follows because of an interrupt."""
        if self.pool is not None and not self.pool.detach:
            self.pool.stop(now=True)
        if self._queue is not None:
            self._queue.close()

    def existing_queue(self) -> Queue | None:
        """Return the queue if its file exists; completion must not create one."""
        from queuectl_nb.store.paths import find_queue

        return self.queue() if find_queue(self.db).is_file() else None

    def choose_format(self, name: str) -> None:
        """Set the format; raise ``BadInput`` for a second, different one (``--json --format csv``)."""
        if self._format_option not in (None, name):
            msg = f"--format {name} conflicts with --format {self._format_option} (--json is the same as --format json)"
            raise BadInput(msg)
        self.format = self._format_option = name
