"""Await jobs in an event loop; one check serves all jobs of a queue that are awaited there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, ClassVar

from queuectl_nb.client.wait import StateChanges, UnreportedJobs
from queuectl_nb.engine import notifier
from queuectl_nb.model.errors import NotFound
from queuectl_nb.model.state import FINISHED_STATES
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.store import Store

__all__ = ["wait_finished"]

POLL_INTERVAL_S = notifier.POLL_WITHOUT_FIFO_S
"""Delay of the first check, and interval of the checks in a loop without readers."""
CHECK_COST_FACTOR = 5
"""The interval is at least this many times the duration of a check."""


async def wait_finished(queue: Queue, job_id: str) -> JobRecord:
    """Return the job when it has finished; raise :class:`NotFound` if it does not exist or is deleted meanwhile."""
    record = await _wait(queue.store, job_id)
    UnreportedJobs.for_queue(queue).mark_reported([job_id])
    return record


async def _wait(store: Store, job_id: str) -> JobRecord:
    waiter = _LoopWaiter.find(store)
    if waiter is None:  # otherwise its next check reads this job with all others
        record = store.jobs.get(job_id)
        if record.is_finished:
            return record
    return await (waiter or _LoopWaiter.for_store(store)).wait(job_id)


class _LoopWaiter:
    """The jobs of one queue that are awaited in one event loop. It exists only while there are any."""

    _instances: ClassVar[dict[tuple[asyncio.AbstractEventLoop, Path], _LoopWaiter]] = {}

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        """Check when notified; a loop without readers polls."""
        self._store = store
        self.loop = loop
        self._futures: dict[str, set[asyncio.Future[JobRecord]]] = {}
        self._new: set[str] = set()
        """Jobs whose state was not checked yet."""
        self._changes = StateChanges(store)
        self._poll_interval_s = POLL_INTERVAL_S
        self._checked_at = 0.0
        self._check_cost_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiter = notifier.FinishWaiter(notifier.waiter_dir(store.db.spool))
        self._waiter.open()
        self._watch()

    @classmethod
    def find(cls, store: Store) -> _LoopWaiter | None:
        """Return the instance for ``store`` and the running loop, if there is one."""
        return cls._instances.get((asyncio.get_running_loop(), store.path))

    @classmethod
    def for_store(cls, store: Store) -> _LoopWaiter:
        """Return the instance for ``store`` and the running loop."""
        for waiter in list(cls._instances.values()):
            if waiter.loop.is_closed():  # closed during an await
                waiter.close()
        loop = asyncio.get_running_loop()
        if (loop, store.path) not in cls._instances:
            cls._instances[loop, store.path] = cls(store, loop)
        return cls._instances[loop, store.path]

    async def wait(self, job_id: str) -> JobRecord:
        future = self.loop.create_future()
        self._futures.setdefault(job_id, set()).add(future)
        self._new.add(job_id)
        if self._timer is None or self._timer.when() <= self.loop.time():  # due, or lost in an interrupt
            self._schedule(0.0)
        try:
            return await future  # type: ignore[no-any-return]
        finally:
            waiting = self._futures.get(job_id, set())
            waiting.discard(future)
            if not waiting:
                self._futures.pop(job_id, None)
            if not self._futures:
                self.close()

    def close(self) -> None:
        if not self.loop.is_closed():
            self._schedule(0.0)
            self._ignore_notifications()
        self._waiter.close()
        key = (self.loop, self._store.path)
        if self._instances.get(key) is self:
            self._instances.pop(key, None)

    def _watch(self) -> None:
        """Let the next notification cause a check."""
        if self._waiter.handle is not None:
            with contextlib.suppress(NotImplementedError):  # a loop that cannot watch files: only its timer checks
                self.loop.add_reader(self._waiter.handle, self._on_notification)
                self._poll_interval_s = notifier.FALLBACK_POLL_S

    def _ignore_notifications(self) -> None:
        if self._waiter.handle is not None:
            with contextlib.suppress(NotImplementedError):  # as above
                self.loop.remove_reader(self._waiter.handle)

    def _on_notification(self) -> None:
        self._ignore_notifications()  # until the check: there may be hundreds a second
        pause = max(notifier.wake_interval(len(self._futures)), self._check_cost_s)
        self._schedule(self._checked_at + pause - time.monotonic())

    def _check(self) -> None:
        """Resolve the futures of finished jobs, and schedule the next check."""
        began = time.monotonic()
        try:
            if self._waiter.handle is not None:
                notifier.drain(self._waiter.handle)
            self._watch()
            self._resolve()
        except BaseException as error:
            self._changes = StateChanges(self._store)
            if not isinstance(error, Exception):
                raise
            for job_id in [*self._futures]:
                _raise_in(self._futures.pop(job_id), error)  # passed on to the waiting tasks
        finally:  # also after an interrupt, so that the tasks are not left waiting
            self._checked_at = time.monotonic()
            self._check_cost_s = (self._checked_at - began) * CHECK_COST_FACTOR
            self._schedule(max(self._poll_interval_s, self._check_cost_s))

    def _schedule(self, pause_s: float) -> None:
        """Check again after this delay if any task is waiting."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(max(0.0, pause_s), self._check) if self._futures else None

    def _resolve(self) -> None:
        changed = self._changes.read()
        ids = list(self._futures if changed is None else self._new)
        states = dict(changed or ()) | (self._store.reader.states_of(ids) if ids else {})
        self._new.clear()
        for job_id in ids:
            if job_id not in states:
                self._fail(job_id)
        finished = (job_id for job_id, state in states.items() if state in FINISHED_STATES)
        if awaited := tuple(job_id for job_id in finished if job_id in self._futures):
            records = {record.id: record for record in self._store.reader.jobs(Filter(ids=awaited))}
            for job_id in awaited:
                if job_id not in records:
                    self._fail(job_id)
                for future in self._futures.pop(job_id, ()):
                    if not future.done():
                        future.set_result(records[job_id])

    def _fail(self, job_id: str) -> None:
        """Let the waits for a job end that does not exist any more."""
        _raise_in(self._futures.pop(job_id, ()), NotFound(f"job {job_id} was deleted during the wait"))


def _raise_in(futures: Iterable[asyncio.Future[JobRecord]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
