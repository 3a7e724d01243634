"""Changes of a queue, of its jobs, settings and workers, and waits for its jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Unpack, overload

from queuectl_nb.client import arguments, job_actions
from queuectl_nb.client.enqueue import check_shell
from queuectl_nb.client.job_actions import notify_idle_worker, notify_workers
from queuectl_nb.client.queue_data import QueueData
from queuectl_nb.client.selection import Selection, choose_dead_jobs, choose_jobs, selected_ids
from queuectl_nb.client.wait import Wait
from queuectl_nb.model.settings import get_setting
from queuectl_nb.model.validation import parse_int, parse_limit, parse_name

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from queuectl_nb.client.arguments import Jobs
    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.wait import Progress
    from queuectl_nb.model.settings import Value
    from queuectl_nb.model.state import State
    from queuectl_nb.store.job_filter import Filter

__all__ = ["QueueControl"]


class QueueControl(QueueData):
    """A queue whose jobs and settings can be changed.

    Jobs are given as ids, Jobs or collections of these, such as a Batch: all or none are changed. Or they are chosen by
    the keywords ``state``, ``queue``, ``tag``, ``error`` and ``search``; jobs in a state that does not allow the change
    are then left out. Both at once are refused. Methods return the ids of the jobs, and with ``dry_run`` only these.
    """

    def edit(self, *jobs: Jobs, dry_run: bool = False, **changes: Any) -> list[str]:
        """Change fields of jobs that have not finished, and return the ids.

        Waiting jobs take ``command``, ``priority``, ``timeout``, ``max_retries``, ``delay``, ``run_at``, ``queue``,
        ``tags``, ``after`` and ``after_any``, as of :meth:`~queuectl_nb.Queue.enqueue`; lists replace the old ones, and
        an empty one removes them. Running jobs take only ``priority``, ``timeout`` and ``max_retries``. A new timeout
        counts from the start of the running attempt; on dask, from the next attempt on. The key of a job that was made
        of its command is made again.

        Jobs are given, and changed all or none; or selected by ``state``, ``in_queue``, ``with_tag``, ``error`` and
        ``search``: ``q.edit(with_tag="sweep", timeout="2h")``. These keywords are those of other methods, except that
        ``queue`` and ``tags`` are new values here.

        Raises
        ------
        WrongState
            A job has finished, or runs and the change is not for running jobs.
        BadInput
            A field or value is invalid, or jobs would wait for each other.
        """
        from queuectl_nb.client.edit import edit

        return edit(self.store, jobs, changes, dry_run=dry_run)

    def retry(self, *jobs: Jobs, dry_run: bool = False, **selection: Unpack[Selection]) -> list[str]:
        """Run failed, dead, cancelled or completed jobs again now.

        Of a selection, completed jobs run again only if it has ``state="completed"``.
        """
        return self._retry("retry", choose_jobs(jobs, selection), dry_run=dry_run)

    def retry_dead(
        self,
        *jobs: Jobs,
        all: bool = False,
        dry_run: bool = False,
        **selection: Unpack[Selection],
    ) -> list[str]:
        """Move dead jobs back to the queue with a fresh retry budget."""
        return self._retry("dlq retry", choose_dead_jobs(jobs, selection, all_dead=all), dry_run=dry_run)

    def _retry(self, action: str, chosen: list[str] | Filter, *, dry_run: bool) -> list[str]:
        if dry_run:
            return job_actions.preview(self.store, chosen, action)
        self._unreported.start(self.store)
        ids = job_actions.retry(self.store, chosen, action)
        self._unreported.start(self.store, ids)
        return ids

    def purge_dead(
        self,
        *jobs: Jobs,
        all: bool = False,
        dry_run: bool = False,
        **selection: Unpack[Selection],
    ) -> list[str]:
        """Delete dead jobs."""
        return self._delete("dlq purge", choose_dead_jobs(jobs, selection, all_dead=all), dry_run=dry_run)

    def delete(self, *jobs: Jobs, dry_run: bool = False, **selection: Unpack[Selection]) -> list[str]:
        """Delete jobs with their history; running ones are refused."""
        return self._delete("delete", choose_jobs(jobs, selection), dry_run=dry_run)

    def _delete(self, action: str, chosen: list[str] | Filter, *, dry_run: bool) -> list[str]:
        return (job_actions.preview if dry_run else job_actions.delete)(self.store, chosen, action)

    def cancel(self, *jobs: Jobs, dry_run: bool = False, **selection: Unpack[Selection]) -> list[str]:
        """Cancel jobs and wait until running ones have stopped.

        Raises ``WrongState`` if a named job has finished, or finishes before it could be stopped.
        """
        return self._cancel(choose_jobs(jobs, selection), dry_run=dry_run)

    def _cancel(self, chosen: list[str] | Filter, *, dry_run: bool = False) -> list[str]:
        if dry_run:
            return job_actions.preview(self.store, chosen, "cancel")
        ids = job_actions.cancel(self.store, chosen)
        self._unreported.mark_reported(ids)
        return ids

    def wait(
        self,
        *jobs: Jobs,
        timeout: float | str | None = None,
        check: bool = False,
        show: Callable[[Progress], object] | None = None,
        **selection: Unpack[Selection],
    ) -> dict[State, int]:
        """Wait until the given or selected jobs, or all jobs, have finished; return the number of these by state.

        Without jobs, the result counts the jobs that finish during the wait, and those that finished since this
        process first enqueued or started workers after its previous wait for all jobs. Jobs that were waited for by
        name, or cancelled here, are not counted again. A selection is that of the start of the wait.

        A notebook shows the progress; with ``show`` this function is called instead, whenever the progress changes.

        Raises ``WaitTimeout`` after ``timeout`` seconds and, with ``check``, ``JobFailed`` if a job did not complete.
        """
        from queuectl_nb.client.wait_display import run_with_progress

        chosen = choose_jobs(jobs, selection)
        ids = selected_ids(self.store, chosen) if chosen or jobs else None
        waiting = Wait(self, ids, arguments.parse_timeout(timeout))
        progress = run_with_progress(waiting) if show is None else waiting.run(show)
        if check:
            waiting.check(progress)
        return {state: n for state, n in progress.finished.items() if n}

    def prune(
        self,
        older_than: float | str | timedelta | None = None,
        state: str | None = None,
        *,
        vacuum: bool = False,
        dry_run: bool = False,
    ) -> int:
        """Delete finished jobs that did not change for ``older_than`` seconds (or ``"7d"``); return how many.

        Jobs on which unfinished ones depend stay, because these may need their values. With ``dry_run`` nothing is
        changed, and the result is how many would be deleted.

        ``vacuum`` gives the free space in the file back to the disk; without ``older_than`` it does only that. Workers
        do it by themselves while no job waits, except for the last megabytes.
        """
        age = None if older_than is None else arguments.parse_age("older_than", older_than)
        return job_actions.prune(self.store, age, state, vacuum=vacuum, dry_run=dry_run)[0]

    def backup(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write a copy of the queue to the file ``path`` and return its absolute path.

        The copy is consistent even while workers run. It contains the arguments and values of functions, but no
        artifacts, and no output longer than ``output_limit``. ``force`` replaces an existing file. The copy is a queue
        of its own: when it is first used, the jobs that were running are failed in it.
        """
        from queuectl_nb.store.backup import write_backup

        return write_backup(self.store.db, path, force=force)[0]

    def pause(self, queue: str | None = None) -> None:
        """Stop starting jobs of ``queue``, or of all queues; running jobs continue."""
        self.store.jobs.pause(None if queue is None else parse_name("queue", queue), time.time())

    def resume(self, queue: str | None = None) -> None:
        """Start jobs of ``queue`` again; None resumes all queues."""
        self._unreported.start(self.store)
        self.store.jobs.resume(None if queue is None else parse_name("queue", queue))
        notify_idle_worker(self.store)

    @overload
    def limit(self, queue: str | None = None) -> dict[str, int]: ...

    @overload
    def limit(self, queue: str, limit: int | None) -> None: ...

    def limit(self, queue: str | None = None, limit: Any = ...) -> dict[str, int] | None:
        """Let at most ``limit`` jobs of ``queue`` run at a time, over all workers; None lifts the limit.

        Without ``limit``, return the limits by queue, of all or only of ``queue``. Running jobs continue. A limit is
        kept in the transaction in which a worker claims a job.
        """
        from queuectl_nb.store.limits import read_limits, set_limit

        name = None if queue is None and limit is ... else parse_name("queue", queue)
        if limit is ...:
            return {each.queue: each.limit for each in read_limits(self.store.db) if name in (None, each.queue)}
        set_limit(self.store.db, str(name), None if limit is None else parse_limit(limit))
        notify_idle_worker(self.store)
        return None

    def set(self, key: str, value: object) -> tuple[str, Value]:
        """Change a setting. Running workers use the new value from their next decision on."""
        row = get_setting(key)
        if row.kind == "shell":
            check_shell(str(row.parse(value)))
        return self._notify_after(self.store.settings.set(key, value))

    def unset(self, key: str) -> tuple[str, Value]:
        """Reset a setting to its default."""
        return self._notify_after(self.store.settings.unset(key))

    def _notify_after(self, changed: tuple[str, Value]) -> tuple[str, Value]:
        notify_workers(self.store, (row.name for row in self.store.workers.list_all()))
        return changed

    def start_workers(
        self,
        count: int = 1,
        *,
        queues: Sequence[str] = (),
        drain: bool = False,
        detach: bool = False,
        executor: str = "local",
        client: Any = None,
        scheduler: str | None = None,
        resources: Mapping[str, float | str] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> WorkerPool:
        """Start ``count`` worker processes and return their pool once they run.

        The workers stop when this process ends, unless ``detach``. As a context manager the pool waits for running
        jobs at the end of the block. With ``drain`` the workers stop when all jobs have finished. ``on_event`` is
        called from another thread with each event.

        With ``executor="dask"`` one process, the dispatcher, runs up to ``count`` jobs at a time on the cluster of
        ``client`` or at the address ``scheduler``; without either, on a new cluster on this host. Only the address and
        the TLS settings of ``client`` are used, so it may be closed. Each running job takes ``resources`` of dask.

        Raises
        ------
        BadInput
            ``count`` is not from 1 to 256 (dask: 5,000), or the options conflict.
        BadEnvironment
            dask is not installed, or its scheduler cannot be reached.
        """
        from queuectl_nb.client.pool import WorkerPool
        from queuectl_nb.client.workers import MAX_IN_FLIGHT, MAX_WORKERS, parse_cluster
        from queuectl_nb.engine.config import WorkerConfig

        cluster = parse_cluster(executor, scheduler=scheduler, client=client, resources=resources)
        count = parse_int("count", count, 1, MAX_IN_FLIGHT if cluster else MAX_WORKERS)
        self.store.settings.read()  # raise for an invalid stored setting here, before a worker fails
        config = WorkerConfig(
            db=self.path,
            count=count,
            queues=tuple(parse_name("queue", each) for each in queues),
            drain=drain,
            detach=detach,
            allow_network_fs=self.allow_network_fs,
            dask=cluster,
        )
        pool = WorkerPool(self, config, on_event)
        self._unreported.start(self.store)
        pool.start()
        return pool

    def stop_workers(self, *names: str, now: bool = False, timeout: float | str | None = None) -> list[str]:
        """Stop workers of this queue (default: all), wherever they run, and return their names.

        They finish their job first; with ``now`` they return it to the queue. Raises ``NotFound`` for a name that is
        not a live worker, and ``WaitTimeout`` after ``timeout`` seconds.
        """
        from queuectl_nb.client import workers

        return workers.stop_workers(self.store, names, now=now, timeout=arguments.parse_timeout(timeout))

    def scale_workers(self, count: int, pool: str | None = None) -> list[str]:
        """Start or stop workers until a running pool has ``count`` of them, and return their names.

        ``pool`` names one of its workers, if several pools are running. Surplus workers finish their job
        first. Raises ``NotFound`` without such a pool, and ``WrongState`` for one that runs on dask.
        """
        from queuectl_nb.client.scale import find_pool, parse_size, scale_pool

        count = parse_size(count)
        return scale_pool(self.store, find_pool(self.store, pool), count)
