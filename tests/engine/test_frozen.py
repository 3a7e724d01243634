"""P8 and P9: frozen workers lose their jobs safely; suspended machines and moved clocks lose nobody's."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.control import WorkerControl
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.executor import LeaseLost
from queuectl_nb.engine.heartbeat import FreezeDetector
from queuectl_nb.engine.local_executor import LocalExecutor
from queuectl_nb.engine.rescuer import Rescuer
from queuectl_nb.engine.worker import Worker
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import State
from queuectl_nb.store.claims import Claims
from tests.engine.harness import alive, read_pid, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.store.store import Store
    from tests.engine.harness import WorkerHarness


def test_late_finisher_cannot_overwrite(harness: WorkerHarness, tmp_path: Path) -> None:
    """A worker frozen past the lease: its job is ended and finished elsewhere; awake again, it changes no row."""
    pids = tmp_path / "pids"
    harness.queue.set("lease", 2)
    harness.queue.set("backoff_max", 0)
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || sleep 60")
    harness.start()
    shell = read_pid(pids)
    until(lambda: job.history[0].pid)
    worker = harness.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    try:
        harness.start()
        job.wait(timeout=30)
        assert not alive(shell)
        before = list(harness.queue.store.db.connection().iterdump())
    finally:
        os.kill(worker, signal.SIGCONT)
    until(lambda: [each for each in harness.events("warning") if "too late" in each["text"]])
    done = harness.add("true").wait(timeout=20)
    assert (job.state, harness.outcomes(job)) == (State.COMPLETED, ["lost", "succeeded"])
    rows = [line for line in harness.queue.store.db.connection().iterdump() if f"'{job.id}'" in line]
    assert [line for line in before if f"'{job.id}'" in line] == rows
    assert done.state is State.COMPLETED


def test_a_frozen_worker_can_be_stopped(harness: WorkerHarness, tmp_path: Path) -> None:
    """Who asks a worker to stop that does not move any more waits for a lease, not for ever; nobody replaces it."""
    pids = tmp_path / "pids"
    harness.queue.set("lease", 2)
    job = harness.add(f"echo $$ >> {pids}; sleep 60")
    pool = harness.start()
    shell = read_pid(pids)
    until(lambda: job.history[0].pid)  # it writes no more: one that stands still within a write keeps all others out
    worker = harness.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    assert harness.queue.stop_workers(timeout=30) == ["worker-1"]
    assert pool.wait(30) == 0
    assert not alive(worker)
    assert not alive(shell)
    assert (job.state, harness.outcomes(job)) == (State.FAILED, ["lost"])
    assert harness.queue.worker_list() == []


def test_freezing_everything_rescues_nothing(harness: WorkerHarness, tmp_path: Path) -> None:
    """All processes stopped for longer than the lease and woken again, as by a closed lid: no attempt is lost."""
    pids = tmp_path / "pids"
    harness.queue.set("lease", 2)
    jobs = [harness.add(f"echo $$ >> {pids}; sleep 4") for _ in range(2)]
    pools = [harness.start(), harness.start()]
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    frozen = [pool.pid for pool in pools] + [harness.worker_pid(name) for pool in pools for name in pool.names]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    until(lambda: time.monotonic() - stopped > 3.0)
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    harness.queue.wait(timeout=30)
    assert [harness.outcomes(job) for job in jobs] == [["succeeded"], ["succeeded"]]
    assert len(pids.read_text().split()) == 2


def test_job_longer_than_the_lease_runs_once(harness: WorkerHarness, tmp_path: Path) -> None:
    """The lease is renewed by a living worker, however long the job; other pools watch in vain."""
    pids = tmp_path / "pids"
    harness.queue.set("lease", 2)
    job = harness.add(f"echo $$ >> {pids}; sleep 4")
    harness.start()
    read_pid(pids)
    harness.start()
    job.wait(timeout=30)
    assert harness.outcomes(job) == ["succeeded"]
    assert len(pids.read_text().split()) == 1


class Beats:
    """Heartbeat files written by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def beat(self, name: str, count: int) -> None:
        """Write a counter."""
        (self.folder / f"{name}.lock").write_bytes(count.to_bytes(8, "little"))


@pytest.fixture
def beats(tmp_path: Path) -> Beats:
    """Return a folder of heartbeats."""
    return Beats(tmp_path)


def test_watch_tells_who_stood_still_for_longer_than_the_lease(beats: Beats) -> None:
    """Only a counter that did not move for more than the lease, on the watcher's own clock, is frozen."""
    watch = FreezeDetector(beats.folder)
    for second in range(15):
        beats.beat("moves", second)
        beats.beat("stands", 7)
        found = watch.find_frozen(["moves", "stands"], float(second), 10, 1)
        assert found == (["stands"] if second > 10 else [])


def test_watch_forgets_after_a_gap_of_its_own(beats: Beats) -> None:
    """A watcher that itself was asleep begins to count anew: nobody is frozen because of its nap."""
    watch = FreezeDetector(beats.folder)
    beats.beat("a", 1)
    assert watch.find_frozen(["a"], 0.0, 10, 1) == []
    assert watch.find_frozen(["a"], 500.0, 10, 1) == []
    assert watch.find_frozen(["a"], 501.0, 10, 1) == []


def test_watch_takes_nobody_for_frozen_whom_it_cannot_see(beats: Beats) -> None:
    """A heartbeat that cannot be read (too many open files, say) is not one that stands still."""
    watch = FreezeDetector(beats.folder)
    (beats.folder / "a.lock").mkdir()
    assert [watch.find_frozen(["a"], float(second), 10, 1) for second in range(15)] == [[]] * 15


def test_watch_is_not_moved_by_the_wall_clock(beats: Beats, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock set a day on or back plays no part: the watch is given monotonic time alone."""
    watch = FreezeDetector(beats.folder)
    beats.beat("a", 1)
    for now, wall in [(0.0, 0.0), (1.0, 86_400.0), (2.0, -86_400.0)]:
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        assert watch.find_frozen(["a"], now, 10, 1) == []


def test_an_attempt_that_was_rescued_before_its_start_is_not_started(harness: WorkerHarness, tmp_path: Path) -> None:
    """A worker that froze between claim and start asks, with its files locked, whether the attempt is still its own."""
    store, ran = harness.queue.store, tmp_path / "ran"
    harness.add(f"touch {ran}")
    claims = Claims(store.db, "worker-7", "here")
    (lease,) = claims.settle_and_claim(limit=1, settings=harness.queue.settings, now=time.time(), rand=0).leases
    assert claims.owns(lease)
    assert Rescuer(store).rescue_dead() == [(lease.job_id, "worker-7")]
    marked: list[str] = []
    slot = store.spool.slot("worker-7")
    executor = LocalExecutor(store.spool, slot, marked.append, db=store.path, environ={})
    with pytest.raises(LeaseLost):
        executor.start(lease, 3, lambda: claims.owns(lease))
    assert marked == []
    assert not ran.exists()
    assert [os.close(handle) for handle in slot.open()] == [None, None], "the locks are let go"


class QuietControl(WorkerControl):
    """Control inputs that never receive anything."""

    def __init__(self, store: Store) -> None:
        """Control ``worker-1`` of ``store``."""
        super().__init__(store, "worker-1", WorkerEvents(Events(None), "worker-1"))
        self.notified = False

    def wait(self, timeout: float, *, idle: bool) -> None:
        """Return at once."""


class Recorder:
    """An executor that starts nothing, and notes what it would have started."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, lease: Lease, max_retries: int, ours: Callable[[], bool]) -> Any:
        """Note the job if the attempt is still the worker's."""
        if ours():
            self.started.append(lease.job_id)
        raise LeaseLost


def test_recording_a_result_does_not_make_an_older_claim_fresh(harness: WorkerHarness) -> None:
    """What was claimed before a freeze is looked at anew, although the worker has recorded something since."""
    store = harness.queue.store
    for _ in range(4):
        harness.add("true")
    handle = heartbeat.take_lock(store.worker_dir, "worker-1")
    assert handle is not None
    executor = Recorder()
    worker = Worker(WorkerCore(store, QuietControl(store), host="here"), executor)
    buffer = worker.buffer
    buffer.prefetch = 4
    worker._flush()
    first, *rest = buffer.claimed
    buffer.claimed.popleft()
    buffer.add_result(first, Exited(0), Ending(time.time()))
    buffer.claimed_at -= 60  # as after a freeze
    Rescuer(Queue(harness.path).store).settle_for("worker-1", "froze")
    worker._flush()
    worker._start_next()
    assert executor.started == []
    assert len(rest) == 3
    os.close(handle)
