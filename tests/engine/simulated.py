"""A dispatcher with a simulated executor, run by a thread of the test."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.simulated_executor import SimulatedControl, SimulatedExecutor
from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.dask.dispatcher import Dispatcher
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SimulatedDispatcher"]


class SimulatedDispatcher:
    """A dispatcher in a thread; :meth:`stop` ends it."""

    def __init__(self, path: Path, *, max_in_flight: int = 8, mean: float = 0.01, drain: bool = False) -> None:
        """Serve the queue at ``path``."""
        self.store = Store(path)
        self.locks: list[int] = []
        (self.name,) = self.store.workers.register(self._take_lock, pool=0, host="here", queues=(), now=time.time())
        self.executor = SimulatedExecutor(self.store.spool, max_in_flight=max_in_flight, mean=mean)
        self.control = SimulatedControl(
            self.store, self.name, WorkerEvents(Events(os.open(os.devnull, os.O_WRONLY)), self.name)
        )
        core = WorkerCore(self.store, self.control, host="here", drain=drain)
        self.dispatcher = Dispatcher(core, self.executor)  # type: ignore[arg-type]
        self.thread = threading.Thread(target=self.dispatcher.work, daemon=True)
        self.thread.start()

    def _take_lock(self, name: str) -> bool:
        """Hold the lock of a name, so that the worker counts as alive."""
        handle = heartbeat.take_lock(self.store.worker_dir, name)
        self.locks += [handle] if handle is not None else []
        return handle is not None

    def stop(self, how: str = "now") -> None:
        """Stop by ``how`` and wait for the end."""
        self.control.request_stop(how)
        self.join()

    def join(self) -> None:
        """Wait until it ends."""
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.store.workers.remove(self.name)
        for handle in self.locks:
            os.close(handle)
