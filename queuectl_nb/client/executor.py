"""A ``concurrent.futures.Executor`` whose calls are jobs of a queue."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.job_actions import cancel_waiting
from queuectl_nb.client.value import read_result
from queuectl_nb.client.wait import StateChanges
from queuectl_nb.engine.notifier import FinishWaiter, waiter_dir
from queuectl_nb.model.errors import BadEnvironment, NotFound, WrongState
from queuectl_nb.model.state import FINISHED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from queuectl_nb.client.job import Job
    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue

__all__ = ["JobFuture", "QueueExecutor", "register_joblib_backend"]


def register_joblib_backend(name: str = "queuectl") -> None:
    """Let ``joblib.parallel_config(backend="queuectl", db=None, **options)`` run calls as jobs of the queue ``db``.

    ``db`` is a queue or its path; default: the one that ``Queue()`` opens. It must have workers. ``options`` are those
    of the jobs, as in :meth:`Queue.task`. Raises ``BadEnvironment`` without joblib.
    """
    try:
        import joblib
    except ModuleNotFoundError:
        msg = "joblib is not installed here: pip install 'queuectl-nb[joblib]'"
        raise BadEnvironment(msg) from None
    from queuectl_nb.client.joblib_backend import QueueBackend

    joblib.register_parallel_backend(name, QueueBackend)


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

    def mark_running(self) -> bool:
        """Mark the future as running; return False if it is settled or cancelled."""
        with self._condition:  # another thread may cancel it
            return self.running() or (not self.done() and self.set_running_or_notify_cancel())

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
        self._is_watched = False
        """Whether a thread settles the futures; after an interrupt there may be two."""
        self._watchers: set[int] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Add a job that calls ``fn`` and return its future; raise RuntimeError after :meth:`shutdown`."""
        return self._add(lambda: [self.queue.task(fn, **self._options).submit(*args, **kwargs)])[0]

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **options: Any,
    ) -> Iterator[Any]:
        """Return an iterator of the values, in order. All jobs are added in one transaction, ``chunksize`` calls each.

        Other options are those of ``Executor.map`` in newer versions of Python.
        """
        if any(value is not None for value in options.values()):
            return super().map(fn, *iterables, timeout=timeout, **options)
        deadline = None if timeout is None else time.monotonic() + timeout
        task = self.queue.task(fn, **self._options)
        futures = self._add(lambda: task.map(*map(iter, iterables), chunksize=chunksize))
        return _iter_values(futures, deadline, chunks=chunksize > 1)

    def _add(self, enqueue: Callable[[], Iterable[Job]]) -> list[JobFuture]:
        """Return futures of the jobs that ``enqueue`` adds."""
        with self._lock:
            if self._shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            futures = [JobFuture(self, job) for job in enqueue()]
            self._futures |= {future.job.id: future for future in futures}
            self._start_watching()
        return futures

    def _start_watching(self) -> None:
        """Start the thread that settles the futures, if there are any; the lock is held."""
        if self._futures and not self._is_watched:
            threading.Thread(target=self._watch, name="queuectl-executor", daemon=True).start()
            self._is_watched = True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls; with ``cancel_futures`` cancel jobs that have not started. Others continue.

        Raises RuntimeError in a callback of a future if it would have to wait there for other futures.
        """
        with self._lock:
            self._shut_down = True
            self._start_watching()
            futures = list(self._futures.values())
        for future in futures if cancel_futures else ():
            future.cancel()
        if wait:
            if threading.get_ident() in self._watchers and not all(future.done() for future in futures):
                raise RuntimeError("a callback cannot wait for other futures; use shutdown(wait=False)")
            concurrent.futures.wait(futures)
            if self._pool is not None:
                self._pool.stop()

    def _watch(self) -> None:
        """Settle futures until none is left. Refers to none of them while it waits, so that values can be freed."""
        self._watchers.add(threading.get_ident())
        store = self.queue.store
        changes = StateChanges(store)
        known: set[str] = set()
        with FinishWaiter(waiter_dir(store.db.spool)) as waiter:
            while waiting := self._unsettled():
                try:
                    changed = changes.read()
                    asked = waiting if changed is None else waiting - known
                    states = dict(changed or ()) | (store.reader.states_of(list(asked)) if asked else {})
                    for job_id in asked | (waiting & states.keys()):
                        self._update(job_id, states.get(job_id))
                except Exception as error:  # noqa: BLE001 - the queue cannot be read; a wait must end
                    for job_id in waiting:
                        self._settle(job_id, error=error)
                known = waiting
                waiter.wait(1.0)

    def _unsettled(self) -> set[str]:
        """Return the ids of jobs whose futures are not settled; if there are none, the watcher ends."""
        with self._lock:
            if not self._futures:
                self._is_watched = False
                self._watchers.discard(threading.get_ident())
            return set(self._futures)

    def _update(self, job_id: str, state: State | None) -> None:
        """Pass the state of a job on to its future; None: the job was deleted."""
        future = self._futures.get(job_id)
        if future is None:
            return
        if state is None:
            self._settle(job_id, error=NotFound(f"job {job_id} was deleted"))
        elif state is State.PROCESSING:
            attempts = self.queue.store.reader.attempts_without_output(job_id)
            if attempts and attempts[-1].pid is not None:  # it was not only claimed ahead, which can be undone
                future.mark_running()
        elif state in FINISHED_STATES:
            if state is State.CANCELLED:
                future.mark_cancelled()
            try:
                self._settle(job_id, read_result(future.job, self.queue.store))
            except BaseException as error:  # noqa: BLE001 - whatever the function has raised
                self._settle(job_id, error=error.with_traceback(None))  # which refers to the future

    def _settle(self, job_id: str, value: Any = None, error: BaseException | None = None) -> None:
        with self._lock:
            future = self._futures.pop(job_id, None)
        if future is None or not future.mark_running():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


def _iter_values(futures: list[JobFuture], deadline: float | None, *, chunks: bool) -> Iterator[Any]:
    """Yield the values of the calls, and keep none of them; cancel the other jobs at an exception or timeout."""
    futures.reverse()
    try:
        while futures:
            # not popped before it is settled, so that it is cancelled if that takes too long
            futures[-1].exception(None if deadline is None else deadline - time.monotonic())
            if not chunks:
                yield futures.pop().result()
                continue
            values = futures.pop().result()[::-1]
            while values:
                yield values.pop()
    finally:
        for future in futures:
            future.cancel()
