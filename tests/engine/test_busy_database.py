"""A file that cannot even be read for a moment (a rollback journal being committed, a checkpoint) ends no worker."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.engine.worker import Worker
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.model.errors import Busy
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State
from tests.engine.harness import until
from tests.engine.simulated import Simulated
from tests.engine.test_frozen import QuietControl, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client import Queue
    from queuectl_nb.store.store import Store
    from tests.engine.harness import WorkerHarness


@contextmanager
def unreadable(store: Store, what: str) -> Iterator[list[str]]:
    """Let looks of a kind at the file meet somebody who keeps readers out; give the list of those that did."""
    met: list[str] = []

    def refuse(*_: object, **__: object) -> Any:
        met.append(what)
        msg = "another program keeps readers out"
        raise Busy(msg)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.db, what, refuse)
        yield met


@pytest.mark.parametrize("what", ["data_version", "read"])
def test_a_dispatcher_works_on_when_the_file_can_be_read_again(queue: Queue, what: str) -> None:
    """What is away stays away, what ends is recorded later, and new jobs are found."""
    queue.enqueue_specs([JobSpec("sleep 0.2") for _ in range(5)])
    found = Simulated(queue.path, most=3, drain=True)
    until(lambda: found.crew.in_flight == 3)
    with unreadable(found.store, what) as met:
        until(lambda: len(met) > 3)
        assert found.thread.is_alive()
    found.join()
    assert queue.store.reader.counts()[State.COMPLETED] == 5


@pytest.mark.parametrize("what", ["data_version", "read"])
def test_a_worker_starts_nothing_that_it_cannot_look_up(harness: WorkerHarness, what: str) -> None:
    """A claim that is old enough to have been taken over waits until the worker can see that it was not."""
    store = harness.queue.store
    harness.add("true")
    executor = Recorder()
    worker = Worker(WorkerCore(store, QuietControl(store), host="here", drain=True), executor)
    with unreadable(store, "data_version"):
        assert not worker._flush_due()
        assert not worker.buffer.flush(worker.control.settings, 1)
    worker.buffer.pause(0)
    assert worker._flush_due()
    worker._flush()
    assert len(worker.buffer.claimed) == 1
    worker.buffer.claimed_at -= 60
    with unreadable(store, what) as met:
        worker._start_next()
        assert met
    assert (executor.started, len(worker.buffer.to_release)) == ([], 1)
