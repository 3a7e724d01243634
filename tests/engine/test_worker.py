"""The loop of a worker, in this process and without commands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from queuectl_nb.engine.worker import Worker
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import State
from tests.engine.test_frozen import QuietControl, Recorder

if TYPE_CHECKING:
    import pytest

    from tests.engine.harness import WorkerHarness


class CountingControl(QuietControl):
    """Control inputs that count the waits."""

    waits = 0

    def wait(self, timeout: float, *, idle: bool) -> None:
        """Count the wait and return at once."""
        self.waits += 1


def test_drained_queue_is_noticed_without_a_wait(harness: WorkerHarness) -> None:
    """A worker that records the last result exits at once, not at its next poll."""
    store = harness.queue.store
    job = harness.add("true")
    store.workers.register(lambda _name: True, pool=1, host="here", queues=[], now=0.0)
    control = CountingControl(store)
    worker = Worker(WorkerCore(store, control, host="here", drain=True), cast("Any", Recorder()))
    worker._flush()
    worker.buffer.add_result(worker.buffer.claimed.popleft(), Exited(0), Ending(time.time()))
    worker.work()
    assert job.refresh().state is State.COMPLETED
    assert worker.core.drained
    assert control.waits == 0


def test_attempts_in_a_slurm_job_name_it(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of an attempt names the node and the Slurm job that its worker runs in."""
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    job = harness.add("true")
    harness.start()
    job.wait(60)
    assert job.history[0].host == "node7 (SLURM_JOB_ID 4711)"
