"""The loop of a worker, in this process and without commands."""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from queuectl_nb.engine import notifier, run_monitor
from queuectl_nb.engine.control import WorkerControl
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.executor import LeaseLost
from queuectl_nb.engine.run_monitor import RunMonitor
from queuectl_nb.engine.work_buffer import LOCK_TIMEOUT_S
from queuectl_nb.engine.worker import LONG_JOB_LOCK_TIMEOUT_S, Worker
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import State
from queuectl_nb.store.claims import StartedAttempt
from queuectl_nb.store.write_lock import LockRequest
from tests.engine.test_frozen import QuietControl, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.model.errors import QueuectlError
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.store import Store
    from tests.engine.harness import WorkerHarness


class RecordingControl(QuietControl):
    """Control inputs that record the waits."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.waits: list[float] = []

    def wait(self, timeout: float, *, idle: bool) -> None:
        """Record the wait and return at once."""
        self.waits.append(timeout)


def test_drained_queue_is_noticed_without_a_wait(harness: WorkerHarness) -> None:
    """A worker that records the last result exits at once, not at its next poll, and wakes idle ones to do so, too."""
    store = harness.queue.store
    fifo = notifier.open_fifo(notifier.work_fifo(store.db.spool))
    job = harness.add("true")
    notifier.drain(fifo)
    store.workers.register(lambda _name: True, pool=1, host="here", queues=[], now=0.0)
    control = RecordingControl(store)
    worker = Worker(WorkerCore(store, control, host="here", drain=True), cast("Any", Recorder()))
    worker._flush()
    worker.buffer.add_result(worker.buffer.claimed.popleft(), Exited(0), Ending(time.time()))
    worker.work()
    assert job.refresh().state is State.COMPLETED
    assert worker.core.drained
    assert not control.waits
    assert notifier.drain(fifo)
    os.close(fifo)


def test_job_starts_with_settings_that_were_changed_before_it_was_enqueued(harness: WorkerHarness) -> None:
    """Also if the worker claims it without a wait since the change, which it is notified of."""
    store = harness.queue.store
    store.workers.register(lambda _name: True, pool=1, host="here", queues=[], now=0.0)
    control = WorkerControl(store, "worker-1", WorkerEvents(Events(os.open(os.devnull, os.O_WRONLY)), "worker-1"))
    control.notified = False
    control._worker_fifo = notifier.open_fifo(notifier.worker_fifo(store.db.spool, "worker-1"))
    used: list[Settings] = []

    def start(_lease: object, settings: Settings, _owned: object) -> NoReturn:
        used.append(settings)
        raise LeaseLost

    worker = Worker(WorkerCore(store, control, host="here"), cast("Any", SimpleNamespace(start=start)))
    harness.queue.set("kill_grace", 77)
    harness.add("true")
    worker._flush()
    worker._start_next()
    assert [settings.kill_grace for settings in used] == [77]
    os.close(control._worker_fifo)


@contextmanager
def _held_by_another_thread(store: Store) -> Iterator[None]:
    request = LockRequest(store.db.write_lock)
    with ThreadPoolExecutor(1) as other:
        other.submit(request.acquire, 60).result(90)
    try:
        yield
    finally:
        request.release()


def test_a_running_job_is_not_left_alone_for_the_write_lock(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose job runs does not wait for other writers, or it would notice the end late, as a long run time."""
    store = harness.queue.store
    worker = Worker(WorkerCore(store, QuietControl(store), host="here"), cast("Any", Recorder()))
    run = SimpleNamespace(lease=None, pid=1, started=time.monotonic(), started_at=time.time())
    waited: list[float] = []

    def give_up(_waiter: object, seconds: float) -> bool:
        waited.append(seconds)
        return False

    monkeypatch.setattr(LockRequest, "_wait", staticmethod(give_up))
    with _held_by_another_thread(store):
        worker.monitor = RunMonitor(cast("Any", run))
        worker.monitor.long_at = math.inf
        worker._flush()
        assert waited == []
        worker.monitor.long_at = -math.inf
        monkeypatch.setattr(run_monitor, "short_job_s", lambda: 0.0)
        worker._flush()
        assert waited == [LONG_JOB_LOCK_TIMEOUT_S]
        worker.monitor = None
        worker._flush()
    assert waited == [LONG_JOB_LOCK_TIMEOUT_S, LOCK_TIMEOUT_S]
    assert worker.buffer.contended


def test_jobs_are_claimed_for_a_limited_time(harness: WorkerHarness) -> None:
    """The group grows quickly with short jobs, up to its maximum, and not beyond what can run soon."""
    store = harness.queue.store
    buffer = Worker(WorkerCore(store, QuietControl(store), host="here"), cast("Any", Recorder())).buffer
    sizes = []
    for run_s in (0.001, 0.001, 0.001, 0.001, 0.2, 0.5, 2.0):
        buffer.grow_prefetch(run_s)
        sizes.append(buffer.prefetch)
    assert sizes == [8, 64, 128, 128, 3, 1, 1]


def test_workers_wake_others_only_where_that_helps(harness: WorkerHarness) -> None:
    """A few woken workers wake each other, then only those do whose job takes long; new work starts over."""
    store = harness.queue.store
    fifo = notifier.open_fifo(notifier.work_fifo(store.db.spool))
    for _ in range(8):
        harness.add("true")
    notifier.drain(fifo)
    control = QuietControl(store)
    worker = Worker(WorkerCore(store, control, host="here"), cast("Any", Recorder()))
    woken, leases = [], []
    for hop in (0, 1, notifier.MAX_HOPS - 1, notifier.MAX_HOPS):
        control.hop = hop
        worker._flush()
        woken.append(notifier.drain(fifo))
        leases.append(worker.buffer.claimed.popleft())
    assert woken == [1, 2, notifier.MAX_HOPS, 0]
    control.hop = 0
    worker.buffer.add_result(leases[0], Exited(0), Ending(time.time()))
    worker._flush()
    assert notifier.drain(fifo) == 0, "a worker with results is busy with short jobs"
    worker.buffer.flush(control.settings, 0, [StartedAttempt(leases[1], 1, time.time())])
    assert notifier.drain(fifo) == notifier.MAX_HOPS - 1
    worker.buffer.release_claimed([leases[2]])
    worker._flush()
    assert notifier.drain(fifo) == 1
    os.close(fifo)


def test_a_poll_leaves_jobs_to_those_who_take_them(harness: WorkerHarness) -> None:
    """A worker that was not woken claims only if nobody has taken the first job for a while."""
    store = harness.queue.store
    jobs = [harness.add("true") for _ in range(4)]
    control = QuietControl(store)
    worker = Worker(WorkerCore(store, control, host="here"), cast("Any", Recorder()))
    assert worker._may_claim(), "it has not waited since its last job"
    worker._wait()
    worker.buffer.force_check()
    assert not worker._may_claim()
    assert worker._recheck_at < math.inf
    jobs[0].cancel()
    assert not worker._may_claim()
    assert worker._recheck_at == math.inf
    control.workers = 1_000_000  # the next one rechecks after seconds
    assert not worker._may_claim()
    assert not worker._may_claim(), "polled before"
    worker._recheck_at = time.monotonic()
    assert worker._may_claim(), "nobody takes them: a notification was lost"
    control.hop = 1
    worker.buffer.force_check()
    assert worker._may_claim()


def test_jobs_that_others_have_taken_are_not_waited_for(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker looks once more at the jobs that it has left to others, and then sleeps until the next poll."""
    store = harness.queue.store
    job = harness.add("true")
    control = RecordingControl(store)
    worker = Worker(WorkerCore(store, control, host="here"), cast("Any", Recorder()))
    control.next_poll_at = math.inf
    monkeypatch.setattr("queuectl_nb.engine.worker.RECHECK_S", 0.0)
    worker._has_waited = True
    assert not worker._may_claim()
    worker._wait()
    job.cancel()
    assert not worker._may_claim()
    worker._wait()
    assert control.waits == [0.0, math.inf]


@pytest.mark.parametrize("error", [BadEnvironment("the disk is full"), Busy("the queue is busy")])
def test_a_failed_claim_is_repeated(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch, error: QueuectlError
) -> None:
    """An idle worker whose claim has failed tries again, also if nobody writes to the queue meanwhile."""
    store = harness.queue.store
    worker = Worker(WorkerCore(store, QuietControl(store), host="here"), cast("Any", Recorder()))
    harness.add("true")

    def fail(**_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(worker.core.claims, "settle_and_claim", fail)
    assert worker._flush_due()
    worker._flush()
    assert not worker.buffer.claimed
    monkeypatch.undo()
    worker.buffer.retry_at = 0.0
    assert worker._flush_due()
    worker._flush()
    assert len(worker.buffer.claimed) == 1


def test_attempts_in_a_slurm_job_name_it(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of an attempt names the node and the Slurm job that its worker runs in."""
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    job = harness.add("true")
    harness.start()
    job.wait(60)
    assert job.history[0].host == "node7 (SLURM_JOB_ID 4711)"
