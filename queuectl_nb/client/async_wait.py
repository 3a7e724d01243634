"""Awaiting jobs in an event loop: one look at the queue for all that are awaited there, however many they are."""

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
"""Seconds between two looks at whether anything was committed."""
POLL_COST_FACTOR = 5
"""A look that takes long is taken less often: so many times its length lie between two."""


async def wait_finished(store: Store, job_id: str) -> None:
    """Return when the job is at rest; raise :class:`NotFound` where it is not there, or was removed meanwhile."""
    state = store.jobs.get(job_id).state
    if state not in FINISHED_STATES:
        await _LoopWaiter.for_store(store).wait(job_id)


class _LoopWaiter:
    """The jobs of one queue that tasks of one event loop wait for."""

    _by_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Path, _LoopWaiter]]] = WeakKeyDictionary()

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self._futures: dict[str, set[asyncio.Future[None]]] = {}
        self._seen: tuple[int, int] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def for_store(cls, store: Store) -> _LoopWaiter:
        """Return what looks after ``store`` in the running loop."""
        loop = asyncio.get_running_loop()
        queues = cls._by_loop.setdefault(loop, {})
        if store.path not in queues:
            queues[store.path] = cls(store, loop)
        return queues[store.path]

    async def wait(self, job_id: str) -> None:
        future = self._loop.create_future()
        self._futures.setdefault(job_id, set()).add(future)
        self._seen = None  # it may have come to rest since it was looked at
        if self._timer is None or self._timer.when() <= self._loop.time():  # due, or cut off by an interrupt
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
        """Let go on who waits for what has come to rest; look again soon while anybody waits."""
        began = time.monotonic()
        try:
            seen = self._store.db.change_counters()
            if seen != self._seen:
                self._resolve(self._store.reader.states_of(list(self._futures)))
                self._seen = seen
        except Exception as error:  # noqa: BLE001 - who waits is told, whatever it is
            for job_id in [*self._futures]:
                _resolve_futures(self._futures.pop(job_id), error)
        finally:  # an interrupt strikes anywhere; who waits goes on
            self._schedule(max(POLL_INTERVAL_S, (time.monotonic() - began) * POLL_COST_FACTOR))

    def _schedule(self, pause: float) -> None:
        """Look again after so many seconds, if anybody waits."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(pause, self._poll) if self._futures else None

    def _resolve(self, states: dict[str, State]) -> None:
        for job_id in [*self._futures]:
            state = states.get(job_id)
            if state is None:
                gone = NotFound(f"job {job_id} was removed while it was waited for")
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
