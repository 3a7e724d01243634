"""A ``concurrent.futures.Executor`` whose calls are jobs of a queue."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.job_actions import cancel_waiting
from queuectl_nb.client.value import read_exception, read_result
from queuectl_nb.client.wait import StateChanges
from queuectl_nb.engine.notifier import FinishWaiter, waiter_dir
from queuectl_nb.model.errors import NotFound, QueuectlError, WrongState
from queuectl_nb.model.state import FINISHED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuectl_nb.client.job import Job
    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue

__all__ = ["JobFuture", "QueueExecutor"]


class JobFuture(Future[Any]):
    """The future of a job; it is settled when the job has finished, retries included."""

    def __init__(self, executor: QueueExecutor, job: Job) -> None:
        super().__init__()
        self.job = job
        self._executor = executor

    def cancel(self) -> bool:
        """Cancel the job unless it runs or has finished; return whether the future is cancelled."""
        if not self.running() and not self.done():
            with contextlib.suppress(WrongState, NotFound):
                cancel_waiting(self._executor.queue.store, self.job.id)
                self.mark_cancelled()
        return self.cancelled()

    def mark_cancelled(self) -> None:
        """Cancel the future of a cancelled job, and wake those who wait for it."""
        with self._condition:  # once: two threads may find the job cancelled
            if not self.cancelled() and super().cancel():
                self.set_running_or_notify_cancel()


class QueueExecutor(Executor):
    """Runs calls as jobs.

    Parameters
    ----------
    queue, options
        Where the jobs go, and their options, as in :meth:`Queue.task`.
    pool
        Workers that ``shutdown`` stops; None if the queue is served from elsewhere.
    """

    def __init__(self, queue: Queue, options: Mapping[str, Any], pool: WorkerPool | None = None) -> None:
        self.queue = queue
        self._options = dict(options)
        self._pool = pool
        self._lock = threading.Lock()
        self._futures: dict[str, JobFuture] = {}
        """Futures that are not settled, by the id of the job."""
        self._shut_down = False
        self._watcher: threading.Thread | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Add a job that calls ``fn`` and return its future; raise RuntimeError after :meth:`shutdown`."""
        with self._lock:
            if self._shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future = JobFuture(self, self.queue.task(fn, **self._options).submit(*args, **kwargs))
            self._futures[future.job.id] = future
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(target=self._watch, name="queuectl-executor", daemon=True)
                self._watcher.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls; with ``cancel_futures`` cancel jobs that have not started. Others go on."""
        with self._lock:
            self._shut_down = True
            futures = list(self._futures.values())
        for future in futures if cancel_futures else ():
            future.cancel()
        if wait:
            if self._watcher is not None:
                self._watcher.join()
            if self._pool is not None:
                self._pool.stop()

    def _watch(self) -> None:
        """Settle futures until none is left."""
        store = self.queue.store
        changes = StateChanges(store)
        known: set[str] = set()
        with FinishWaiter(waiter_dir(store.db.spool)) as waiter:
            while True:
                with self._lock:
                    waiting = dict(self._futures)
                    if not waiting:
                        self._watcher = None
                        return
                try:
                    changed = changes.read()
                    asked = list(waiting if changed is None else waiting.keys() - known)
                    states = dict(changed or ()) | (store.reader.states_of(asked) if asked else {})
                    known = set(waiting)
                    for job_id in {*asked, *(waiting.keys() & states.keys())}:
                        self._update(waiting[job_id], states.get(job_id))
                except QueuectlError as error:  # the queue cannot be read
                    for future in waiting.values():
                        self._settle(future, error)
                waiter.wait(1.0)

    def _update(self, future: JobFuture, state: State | None) -> None:
        """Pass the state of a job on to its future; None: the job was deleted."""
        if state is State.PROCESSING and not future.running() and not future.done():
            future.set_running_or_notify_cancel()
        if state is None:
            self._settle(future, NotFound(f"job {future.job.id} was deleted"))
        elif state in FINISHED_STATES:
            store = self.queue.store
            if state is State.CANCELLED:
                future.mark_cancelled()
            try:
                error = read_exception(future.job, store)
            except QueuectlError as cancelled:
                error = cancelled
            self._settle(future, error, None if error is not None else read_result(future.job, store))

    def _settle(self, future: JobFuture, error: BaseException | None, value: Any = None) -> None:
        self._forget(future)
        if future.done():
            return
        if not future.running():
            future.set_running_or_notify_cancel()
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def _forget(self, future: JobFuture) -> None:
        with self._lock:
            self._futures.pop(future.job.id, None)
