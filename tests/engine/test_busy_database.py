"""A database that cannot be read for a moment does not end a worker."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.engine.worker import Worker
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.model.errors import Busy
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State
from tests.engine.harness import until
from tests.engine.simulated import SimulatedDispatcher
from tests.engine.test_frozen import QuietControl, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client import Queue
    from queuectl_nb.store.store import Store
    from tests.engine.harness import WorkerHarness


@contextmanager
def unreadable(store: Store, method: str) -> Iterator[list[str]]:
    """Let one method of the database raise Busy; yield a list with an entry for each call."""
    calls: list[str] = []

    def refuse(*_: object, **__: object) -> Any:
        calls.append(method)
        msg = "another program blocks readers"
        raise Busy(msg)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.db, method, refuse)
        yield calls


@pytest.mark.parametrize("method", ["data_version", "read"])
def test_dispatcher_continues_after_the_database_was_busy(queue: Queue, method: str) -> None:
    """Running jobs continue, results are recorded later and new jobs are started."""
    enqueue_specs(queue, [JobSpec("sleep 0.2") for _ in range(5)])
    simulated = SimulatedDispatcher(queue.path, max_in_flight=3, drain=True)
    until(lambda: simulated.executor.in_flight == 3)
    with unreadable(simulated.store, method) as calls:
        until(lambda: len(calls) > 3)
        assert simulated.thread.is_alive()
    simulated.join()
    assert queue.store.reader.counts()[State.COMPLETED] == 5


@pytest.mark.parametrize("method", ["data_version", "read"])
def test_worker_does_not_start_claims_that_it_cannot_check(harness: WorkerHarness, method: str) -> None:
    """An old claim is not started until the worker can check that it still owns it."""
    store = harness.queue.store
    harness.add("true")
    executor: Any = Recorder()
    worker = Worker(WorkerCore(store, QuietControl(store), host="here", drain=True), executor)
    with unreadable(store, "data_version"):
        assert not worker._flush_due()
    with unreadable(store, "write"):
        assert not worker.buffer.flush(worker.control.settings, 1)
    worker.buffer.pause(0)
    assert worker._flush_due()
    worker._flush()
    assert len(worker.buffer.claimed) == 1
    worker.buffer.claimed_at -= 60
    with unreadable(store, method) as calls:
        worker._start_next()
        assert calls
    assert (executor.started, len(worker.buffer.to_release)) == ([], 1)
