"""Await jobs in an event loop; one poll serves all jobs of a queue that are awaited there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from queuectl_nb.model.errors import NotFound
from queuectl_nb.model.state import FINISHED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from queuectl_nb.store.store import Store

__all__ = ["wait_finished"]

POLL_INTERVAL_S = 0.02
"""Interval at which the queue is checked for commits."""
POLL_COST_FACTOR = 5
"""The interval is at least this many times the duration of a poll."""


async def wait_finished(store: Store, job_id: str) -> None:
    """Return when the job has finished; raise :class:`NotFound` if it does not exist or is deleted meanwhile."""
    state = store.jobs.get(job_id).state
    if state not in FINISHED_STATES:
        await _LoopWaiter.for_store(store).wait(job_id)


class _LoopWaiter:
    """The jobs of one queue that are awaited in one event loop."""

    _by_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Path, _LoopWaiter]]] = WeakKeyDictionary()

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self._futures: dict[str, set[asyncio.Future[None]]] = {}
        self._seen: tuple[int, ...] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def for_store(cls, store: Store) -> _LoopWaiter:
        """Return the instance for ``store`` and the running loop."""
        loop = asyncio.get_running_loop()
        queues = cls._by_loop.setdefault(loop, {})
        if store.path not in queues:
            queues[store.path] = cls(store, loop)
        return queues[store.path]

    async def wait(self, job_id: str) -> None:
        future = self._loop.create_future()
        self._futures.setdefault(job_id, set()).add(future)
        self._seen = None  # it may have finished since the last poll
        if self._timer is None or self._timer.when() <= self._loop.time():  # due, or lost in an interrupt
            self._schedule(POLL_INTERVAL_S)
        try:
            await future
        finally:
            self._remove(job_id, future)

    def _remove(self, job_id: str, future: asyncio.Future[None]) -> None:
        waiting = self._futures.get(job_id, set())
        waiting.discard(future)
        if not waiting:
            self._futures.pop(job_id, None)
        if not self._futures:
            self._schedule(POLL_INTERVAL_S)

    def _poll(self) -> None:
        """Resolve the futures of finished jobs, and schedule the next poll."""
        began = time.monotonic()
        try:
            seen = self._store.db.change_counters()
            if seen != self._seen:
                self._resolve(self._store.reader.states_of(list(self._futures)))
                self._seen = seen
        except Exception as error:  # noqa: BLE001 - passed on to the waiting tasks
            for job_id in [*self._futures]:
                _resolve_futures(self._futures.pop(job_id), error)
        finally:  # also after an interrupt, so that the tasks are not left waiting
            self._schedule(max(POLL_INTERVAL_S, (time.monotonic() - began) * POLL_COST_FACTOR))

    def _schedule(self, pause: float) -> None:
        """Poll again after this delay if any task is waiting."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(pause, self._poll) if self._futures else None

    def _resolve(self, states: dict[str, State]) -> None:
        for job_id in [*self._futures]:
            state = states.get(job_id)
            if state is None:
                gone = NotFound(f"job {job_id} was deleted during the wait")
                _resolve_futures(self._futures.pop(job_id), gone)
            elif state in FINISHED_STATES:
                _resolve_futures(self._futures.pop(job_id), None)


def _resolve_futures(futures: Iterable[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
