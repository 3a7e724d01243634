"""A backend for joblib: the calls of ``joblib.Parallel``, and so of scikit-learn's ``n_jobs``, are jobs of a queue."""

from __future__ import annotations

import contextlib
import sys
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from joblib.parallel import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

from queuectl_nb.child.blob import MAX_INLINE_BYTES
from queuectl_nb.child.joblib_backend import Batch, Shared, run_batch
from queuectl_nb.client.queue import Queue
from queuectl_nb.client.workers import list_workers, served_queues
from queuectl_nb.model.errors import BadEnvironment, QueuectlError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from queuectl_nb.client.executor import QueueExecutor

__all__ = ["QueueBackend"]


class QueueBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # not typed
    """Runs batches of calls as jobs.

    Parameters
    ----------
    db
        A queue or the path of one; default: the queue that ``Queue()`` opens. It must have workers.
    options
        Options of the jobs, as in :meth:`Queue.task`.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    default_n_jobs = -1

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        db: Queue | str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._queue = db if isinstance(db, Queue) else Queue(db)
        self._options = options
        self._executor: QueueExecutor = self._queue.executor(**options)  # raises for an invalid option
        self._futures: set[Future[Any]] = set()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of workers, or ``n_jobs`` if that is less.

        With a single worker it is 2, because joblib makes all calls in the calling process for 1.
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs == 1:
            return 1
        name = self._options.get("queue") or "default"
        live = [each for each in list_workers(self._queue.store) if each["state"] in {"idle", "busy"}]
        serves = served_queues(self._queue.store)
        workers = sum(name in (serves.get(each["name"]) or [name]) for each in live)
        if not workers:
            raise BadEnvironment(f"no workers serve queue {name} of {self._queue.path}; start some: q.start_workers(2)")
        wanted = workers if n_jobs is None else n_jobs if n_jobs > 0 else workers + 1 + n_jobs
        return max(2, min(wanted, workers))

    def configure(self, n_jobs: int | None = 1, parallel: Any = None, **_: Any) -> int:
        """Prepare for a ``Parallel`` and return the number of jobs at a time."""
        count = self.effective_n_jobs(n_jobs)
        if count == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        env = {**self._prepare_worker_env(count), **self._options.get("env", {})}
        self._executor = self._queue.executor(**{**self._options, "env": env})
        return count

    def submit(self, func: Any, callback: Callable[[Future[Any]], object] | None = None) -> Future[Any]:
        """Add a job for a batch of calls and return its future."""
        batch, shared = _share_arguments(func)
        try:
            future = self._executor.submit(run_batch, batch, *shared)
        except Exception as error:  # noqa: BLE001 - joblib calls this from a callback, where nobody could catch it
            future = Future()
            future.set_exception(error)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return the values of a batch, or raise its exception."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel all jobs, running ones too, since their values are not needed."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for future in list(self._futures):
            with contextlib.suppress(QueuectlError):  # it has finished meanwhile
                self._queue.cancel(future.job)  # type: ignore[attr-defined]
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def terminate(self) -> None:
        """Accept no more batches."""
        self._executor.shutdown(wait=False)
        self.reset_batch_stats()


def _share_arguments(calls: Any) -> tuple[Batch, list[Any]]:
    """Return a batch of joblib with its large arguments replaced, and these, each of them once."""
    found: dict[int, Any] = {}

    def replace(value: Any) -> Any:
        if max(sys.getsizeof(value, 0), getattr(value, "nbytes", 0)) <= MAX_INLINE_BYTES:
            return value
        found[id(value)] = value
        return Shared(list(found).index(id(value)))

    items = [
        (function, [*map(replace, arguments)], {name: replace(value) for name, value in keywords.items()})
        for function, arguments, keywords in calls.items
    ]
    return Batch(items, (calls._backend, calls._n_jobs)), list(found.values())  # noqa: SLF001 - as dask does
