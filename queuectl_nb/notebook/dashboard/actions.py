"""What the dashboard's buttons do: each in a thread of its own, so that neither a page nor the kernel waits for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from queuectl_nb.client.enqueue import make_spec
from queuectl_nb.model.errors import QueuectlError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue

__all__ = ["Actions"]

ASKED = 0.5
"""Seconds that a stop of workers is watched; those that have a job to finish end later."""

_pools: list[WorkerPool] = []
"""Pools that a dashboard has started: they end with the kernel, not with the dashboard."""


class Actions:
    """The verbs behind the buttons; ``say(text, bad)`` tells how each went, in a line."""

    def __init__(self, queue: Queue, say: Callable[[str, bool], None], done: Callable[[], None]) -> None:
        """Act on ``queue``; ``done()`` is called after each act."""
        self._queue = queue
        self._say = say
        self._done = done

    def start(self, act: Callable[[], str], say: Callable[[str, bool], None] | None = None) -> threading.Thread:
        """Carry out one of the acts below in the background; what it returns, or its error, is said."""
        thread = threading.Thread(target=self._run, args=(act, say or self._say), name="queuectl-act", daemon=True)
        thread.start()
        return thread

    def _run(self, act: Callable[[], str], say: Callable[[str, bool], None]) -> None:
        try:
            say(act(), False)
        except QueuectlError as error:
            say(str(error), True)
        except Exception as error:  # noqa: BLE001 - a bug is said in a line, not printed into anybody's cell
            say(f"internal error: {type(error).__name__}: {error}", True)
        finally:
            self._queue.close()
            self._done()

    def retry(self, ids: Sequence[str]) -> str:
        """Run jobs again."""
        self._queue.retry(*ids)
        return f"{_jobs(ids)} queued again."

    def cancel(self, ids: Sequence[str]) -> str:
        """Cancel jobs."""
        self._queue.cancel(*ids)
        return f"{_jobs(ids)} cancelled."

    def pause(self, queue: str | None) -> str:
        """Stop new starts."""
        self._queue.pause(queue)
        return f"Queue {queue} is paused." if queue else "Everything is paused; running jobs go on."

    def resume(self, queue: str | None) -> str:
        """Allow starts again."""
        self._queue.resume(queue)
        left = [name for name in self._queue.store.reader.paused_queues() if name in ("*", queue)]
        if left:
            return "Everything is still paused; choose every queue, then Resume."
        return f"Queue {queue} goes on." if queue else "Everything goes on."

    def add_workers(self, count: int) -> str:
        """Start workers that end with the kernel."""
        pool = self._queue.start_workers(count)
        _pools[:] = [each for each in _pools if each.alive] + [pool]
        return f"{', '.join(pool.names)} started."

    def stop_workers(self, names: Sequence[str]) -> str:
        """Ask workers to end, all without names; who has a job finishes it first."""
        try:
            ended = self._queue.stop_workers(*names, timeout=ASKED)
        except WaitTimeout:
            return f"{', '.join(names) or 'The workers'} will end after the present job."
        return f"{', '.join(ended)} ended." if ended else "There were no workers."

    def enqueue(self, wish: Mapping[str, object]) -> str:
        """Add a job."""
        (job_id,) = self._queue.enqueue_specs([make_spec(wish)])
        return f"Job enqueued: {job_id}"


def _jobs(ids: Sequence[str]) -> str:
    return f"Job {ids[0]}" if len(ids) == 1 else f"{len(ids)} jobs"
