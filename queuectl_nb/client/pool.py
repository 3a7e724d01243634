"""A pool of workers in a user's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.pool_handle import PoolHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.engine.dask.cluster import Cluster

__all__ = ["WorkerPool"]


class WorkerPool(PoolHandle):
    """A pool that shows its workers as they are now, and what went wrong with them lately."""

    def __init__(  # noqa: PLR0913 - the options of `worker start`
        self,
        queue: Queue,
        *,
        count: int,
        queues: Sequence[str] = (),
        drain: bool = False,
        detach: bool = False,
        allow_network_fs: bool = False,
        dask: Cluster | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Prepare a pool on ``queue``."""
        super().__init__(
            queue.path,
            count=count,
            queues=queues,
            drain=drain,
            detach=detach,
            allow_network_fs=allow_network_fs,
            dask=dask,
            on_event=on_event,
        )
        self._queue = queue

    @property
    def workers(self) -> list[dict[str, Any]]:
        """The pool's workers that live, in the contract's shape."""
        return [worker for worker in self._queue.worker_list() if self.alive and worker["name"] in self.names]

    def _repr_html_(self) -> str:
        from queuectl_nb.render.cards import near, pool_card

        state = "running" if self.alive else "ended"
        title = f"{'Detached w' if self.detach else 'W'}orkers on {near(self.path)}"
        return pool_card(title, state, self.workers, self.troubles)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from queuectl_nb.render.cards import near

        printer.text(repr(self).replace(str(self.path), near(self.path)))
