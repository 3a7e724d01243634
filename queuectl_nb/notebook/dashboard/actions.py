"""The actions of the dashboard's buttons, each in a background thread so that neither page nor kernel is blocked."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from queuectl_nb.client.enqueue import enqueue_specs, make_spec
from queuectl_nb.model.errors import BadInput, QueuectlError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.client.selection import Selection

__all__ = ["Actions"]

STOP_TIMEOUT_S = 0.5
"""How long to wait for workers to stop; those with a running job take longer."""

DONE = {"retry": "queued again", "cancel": "cancelled", "delete": "deleted"}
"""What an action has done to its jobs."""

_pools: list[WorkerPool] = []
"""Pools started from a dashboard: they end with the kernel, not with the dashboard."""


class Actions:
    """The actions; each returns a message for the user."""

    def __init__(self, queue: Queue, report: Callable[[str, bool], None], on_done: Callable[[], None]) -> None:
        """Act on ``queue``; call ``report(text, is_error)`` with the message and ``on_done()`` after each action."""
        self._queue = queue
        self._report = report
        self._on_done = on_done

    def start(self, action: Callable[[], str], report: Callable[[str, bool], None] | None = None) -> threading.Thread:
        """Run an action in a thread and report its message or error."""
        args = (action, report or self._report)
        thread = threading.Thread(target=self._run, args=args, name="queuectl-action", daemon=True)
        thread.start()
        return thread

    def _run(self, action: Callable[[], str], report: Callable[[str, bool], None]) -> None:
        try:
            report(action(), False)
        except QueuectlError as error:
            report(str(error), True)
        except Exception as error:  # noqa: BLE001 - shown in the dashboard; a thread must not print into a cell
            report(f"internal error: {type(error).__name__}: {error}", True)
        finally:
            self._queue.close()
            self._on_done()

    def change(self, verb: str, chosen: Sequence[str] | Selection) -> str:
        """Retry, cancel or delete the jobs with these ids, or those of a selection."""
        method = getattr(self._queue, verb)
        changed = method(**chosen) if isinstance(chosen, dict) else method(*chosen)
        return f"{_jobs(changed)} {DONE[verb]}."

    def count(self, verb: str, selection: Selection) -> int:
        """Return how many jobs of a selection :meth:`change` would change."""
        return len(getattr(self._queue, verb)(dry_run=True, **selection))

    def pause(self, queue: str | None) -> str:
        """Pause a queue, or all."""
        self._queue.pause(queue)
        return f"Queue {queue} is paused." if queue else "All queues are paused; running jobs continue."

    def resume(self, queue: str | None) -> str:
        """Resume a queue, or all."""
        self._queue.resume(queue)
        if any(name in ("*", queue) for name in self._queue.store.reader.paused_queues()):
            return "All queues are still paused; select all queues, then Resume."
        return f"Queue {queue} is resumed." if queue else "All queues are resumed."

    def start_workers(self, count: int) -> str:
        """Start workers that end with the kernel."""
        pool = self._queue.start_workers(count)
        _pools[:] = [each for each in _pools if each.alive] + [pool]
        return f"{', '.join(pool.names)} started."

    def scale_workers(self, count: int, worker: str | None) -> str:
        """Change the number of workers in the pool of a worker, or in the only pool."""
        if worker is None and len({each.pool for each in self._queue.store.workers.list_all()}) > 1:
            raise BadInput("several pools are running; select a worker of the one to scale")
        names = self._queue.scale_workers(count, worker)
        return f"Scaled to {len(names)} worker{'' if len(names) == 1 else 's'}: {', '.join(names)}."

    def stop_workers(self, worker: str | None) -> str:
        """Stop a worker, or all, after their current jobs."""
        try:
            stopped = self._queue.stop_workers(*filter(None, [worker]), timeout=STOP_TIMEOUT_S)
        except WaitTimeout:
            return f"{worker or 'The workers'} will stop after the current job."
        return f"{', '.join(stopped)} stopped." if stopped else "No worker was running."

    def enqueue(self, fields: Mapping[str, object]) -> str:
        """Add a job."""
        (job_id,) = enqueue_specs(self._queue, [make_spec(fields)]).ids
        return f"Job enqueued: {job_id}"


def _jobs(ids: Sequence[str]) -> str:
    return f"Job {ids[0]}" if len(ids) == 1 else f"{len(ids)} jobs"
