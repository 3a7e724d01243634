"""Jobs of frozen workers are rescued; suspended machines and clock changes lose no jobs."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.client.workers import list_workers
from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.control import WorkerControl
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.executor import LeaseLost
from queuectl_nb.engine.heartbeat import FreezeDetector
from queuectl_nb.engine.local_executor import LocalExecutor
from queuectl_nb.engine.outcome_journal import lock_journal
from queuectl_nb.engine.rescuer import Rescuer
from queuectl_nb.engine.worker import Worker
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.errors import BadEnvironment
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


def test_late_result_is_dropped(harness: WorkerHarness, tmp_path: Path) -> None:
    """The job of a worker frozen for longer than the lease runs elsewhere; the worker's late result changes no row.

    Its supervisor is frozen too, or would replace it.
    """
    pids = tmp_path / "pids"
    harness.queue.set("lease", 2)
    harness.queue.set("backoff_max", 0)
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || sleep 60")
    pool = harness.start()
    shell = read_pid(pids)
    until(lambda: job.history[0].pid)
    os.kill(pool.pid, signal.SIGSTOP)
    worker = harness.freeze()
    try:
        harness.start()
        job.wait(timeout=60)
        assert not alive(shell)
        before = list(harness.queue.store.db.connection().iterdump())
    finally:
        os.kill(worker, signal.SIGCONT)
        os.kill(pool.pid, signal.SIGCONT)
    until(lambda: [each for each in harness.events("warning") if "too late" in each["text"]])
    done = harness.add("true").wait(timeout=60)
    assert (job.state, harness.outcomes(job)) == (State.COMPLETED, ["lost", "succeeded"])
    rows = [line for line in harness.queue.store.db.connection().iterdump() if f"'{job.id}'" in line]
    assert [line for line in before if f"'{job.id}'" in line] == rows
    assert done.state is State.COMPLETED


def test_frozen_worker_is_replaced(harness: WorkerHarness, tmp_path: Path) -> None:
    """A worker that stays frozen is killed, so that the pool has all its workers again."""
    pids = tmp_path / "pids"
    harness.queue.set("lease", 2)
    harness.queue.set("backoff_max", 0)
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || sleep 60")
    pool = harness.start()
    read_pid(pids)
    until(lambda: job.history[0].pid)
    worker = harness.freeze()
    job.wait(timeout=60)
    assert not alive(worker)
    assert (job.state, harness.outcomes(job)) == (State.COMPLETED, ["lost", "succeeded"])
    assert job.history[0].error == "lost: worker-1 froze"
    text = "killed: it has been frozen for more than 4 seconds"
    until(lambda: harness.events("warning", worker="worker-1", text=text))
    until(lambda: harness.worker_pid() != worker)
    assert pool.alive


def test_frozen_worker_can_be_stopped(harness: WorkerHarness, tmp_path: Path) -> None:
    """Stopping a frozen worker takes at most a lease; it is not restarted."""
    pids = tmp_path / "pids"
    harness.queue.set("lease", 2)
    job = harness.add(f"echo $$ >> {pids}; sleep 60")
    pool = harness.start()
    shell = read_pid(pids)
    until(lambda: job.history[0].pid)
    worker = harness.freeze()
    assert harness.queue.stop_workers(timeout=30) == ["worker-1"]
    assert pool.wait(60) == 0
    assert not alive(worker)
    assert not alive(shell)
    assert (job.state, harness.outcomes(job)) == (State.FAILED, ["lost"])
    assert list_workers(harness.queue.store) == []


def test_suspending_everything_rescues_nothing(harness: WorkerHarness, tmp_path: Path) -> None:
    """If all processes are suspended for longer than the lease, no attempt is lost."""
    pids = tmp_path / "pids"
    harness.queue.set("lease", 3)
    jobs = [harness.add(f"echo $$ >> {pids}; sleep 5") for _ in range(2)]
    pools = [harness.start(), harness.start()]
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    frozen = [pool.pid for pool in pools] + [harness.worker_pid(name) for pool in pools for name in pool.names]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    until(lambda: time.monotonic() - stopped > 4.0)
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    harness.queue.wait(timeout=60)
    assert [harness.outcomes(job) for job in jobs] == [["succeeded"], ["succeeded"]]
    assert len(pids.read_text().split()) == 2


def test_job_longer_than_the_lease_runs_once(harness: WorkerHarness, tmp_path: Path) -> None:
    """A live worker renews its lease, however long the job."""
    pids = tmp_path / "pids"
    harness.queue.set("lease", 2)
    job = harness.add(f"echo $$ >> {pids}; sleep 4")
    harness.start()
    read_pid(pids)
    harness.start()
    job.wait(timeout=60)
    assert harness.outcomes(job) == ["succeeded"]
    assert len(pids.read_text().split()) == 1


class HeartbeatFiles:
    """Writes heartbeat files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def beat(self, name: str, count: int) -> None:
        """Write a counter."""
        (self.folder / f"{name}.lock").write_bytes(count.to_bytes(8, "little"))


@pytest.fixture
def heartbeats(tmp_path: Path) -> HeartbeatFiles:
    """Return a folder of heartbeat files."""
    return HeartbeatFiles(tmp_path)


def test_detects_counters_unchanged_for_longer_than_the_lease(heartbeats: HeartbeatFiles) -> None:
    """A worker is frozen if its counter has not changed for more than the lease on the observer's clock."""
    detector = FreezeDetector(heartbeats.folder)
    for second in range(15):
        heartbeats.beat("moves", second)
        heartbeats.beat("still", 7)
        found = detector.find_frozen(["moves", "still"], float(second), 10, 1)
        assert found == (["still"] if second > 10 else [])


@pytest.mark.parametrize("gap", [1.5, 2.5, 3.5, 500.0])
def test_late_check_counts_as_one_interval(heartbeats: HeartbeatFiles, gap: float) -> None:
    """After the observer itself was suspended, the workers have time to write their heartbeats."""
    detector = FreezeDetector(heartbeats.folder)
    heartbeats.beat("a", 1)
    assert detector.find_frozen(["a"], 0.0, 2, 1) == []
    assert detector.find_frozen(["a"], gap, 2, 1) == []
    assert detector.find_frozen(["a"], gap + 1, 2, 1) == []
    assert detector.find_frozen(["a"], gap + 2, 2, 1) == ["a"]


def test_a_restarted_worker_is_not_frozen(heartbeats: HeartbeatFiles) -> None:
    """The time between the death of a worker and its restart, which grows up to 30 s, does not count."""
    detector = FreezeDetector(heartbeats.folder)
    handle = heartbeat.take_lock(heartbeats.folder, "a")
    assert handle is not None
    assert detector.find_frozen(["a"], 0.0, 10, 15) == []
    thread = heartbeat.Heartbeat(handle)
    thread.start()
    try:
        assert detector.find_frozen(["a"], 11.0, 10, 15) == []
    finally:
        thread.stop()
        os.close(handle)


def test_a_replaced_worker_is_not_frozen(heartbeats: HeartbeatFiles) -> None:
    """The time for which its former process was frozen does not count."""
    detector = FreezeDetector(heartbeats.folder)
    heartbeats.beat("a", 1)
    for second in range(4):
        detector.find_frozen(["a"], float(second), 2, 1)
    assert detector.frozen_s("a") == 3.0
    detector.forget("a")
    assert detector.frozen_s("a") == 0.0
    assert detector.find_frozen(["a"], 4.0, 2, 1) == []


def test_a_worker_without_a_heartbeat_does_not_start(
    heartbeats: HeartbeatFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the thread cannot be started, the error names the limit: others would take the worker for frozen."""

    def fail(_: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(threading.Thread, "start", fail)
    handle = heartbeat.take_lock(heartbeats.folder, "a")
    assert handle is not None
    with pytest.raises(BadEnvironment, match=r"pids\.max"):
        heartbeat.Heartbeat(handle).start()
    os.close(handle)


def test_unreadable_heartbeat_is_not_frozen(heartbeats: HeartbeatFiles) -> None:
    """A worker whose heartbeat cannot be read is not considered frozen."""
    detector = FreezeDetector(heartbeats.folder)
    (heartbeats.folder / "a.lock").mkdir()
    assert [detector.find_frozen(["a"], float(second), 10, 1) for second in range(15)] == [[]] * 15


def test_wall_clock_has_no_effect(heartbeats: HeartbeatFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes of the wall clock have no effect."""
    detector = FreezeDetector(heartbeats.folder)
    heartbeats.beat("a", 1)
    for now, wall in [(0.0, 0.0), (1.0, 86_400.0), (2.0, -86_400.0)]:
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        assert detector.find_frozen(["a"], now, 10, 1) == []


def test_rescued_attempt_is_not_started(harness: WorkerHarness, tmp_path: Path) -> None:
    """A worker frozen between claim and start checks that it still owns the attempt, with its files locked."""
    store, ran = harness.queue.store, tmp_path / "ran"
    harness.add(f"touch {ran}")
    claims = Claims(store.db, "worker-7", "here")
    (lease,) = claims.settle_and_claim(limit=1, settings=harness.queue.settings, now=time.time(), rand=0).leases
    assert claims.owns(lease)
    assert Rescuer(store).rescue_dead() == [(lease.job_id, "worker-7")]
    files = store.spool.worker_files("worker-7")
    executor = LocalExecutor(store.spool, files, None, db=store.path, environ={})
    with pytest.raises(LeaseLost):
        executor.start(lease, harness.queue.settings, lambda: claims.owns(lease))
    assert not ran.exists()
    for handle in files.open():  # the locks are released
        os.close(handle)


def test_job_is_released_while_a_rescuer_holds_the_output_files(harness: WorkerHarness) -> None:
    """A job that finds the worker's output files locked by a rescuer is returned and runs later."""
    harness.start()
    harness.add("true").wait(timeout=60)
    rescue_lock = lock_journal(harness.queue.store.worker_dir, "worker-1")
    assert rescue_lock is not None
    with open(harness.queue.store.spool.worker_files("worker-1").paths["stdout"], "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        job = harness.add("echo hello")
        until(lambda: [each for each in harness.events("warning") if "holds the output files" in each["text"]])
    os.close(rescue_lock)
    assert job.wait(timeout=60).log() == "hello\n"
    assert harness.outcomes(job) == ["succeeded"]


def test_output_files_that_another_process_holds_are_replaced(harness: WorkerHarness) -> None:
    """A process that was given the output of an earlier job does not keep the worker from starting jobs."""
    harness.start()
    harness.add("true").wait(timeout=60)
    with open(harness.queue.store.spool.worker_files("worker-1").paths["stdout"], "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert harness.add("echo hello").wait(timeout=60).log() == "hello\n"


class QuietControl(WorkerControl):
    """Control inputs that never receive anything."""

    def __init__(self, store: Store) -> None:
        """Control ``worker-1`` of ``store``."""
        super().__init__(store, "worker-1", WorkerEvents(Events(os.open(os.devnull, os.O_WRONLY)), "worker-1"))
        self.notified = False

    def receive_notification(self) -> bool:
        """Return that there was none."""
        return False

    def wait(self, timeout: float, *, idle: bool) -> None:
        """Return at once."""


class Recorder:
    """An executor that only records what it would start."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, lease: Lease, max_retries: int, owned: Callable[[], bool]) -> Any:
        """Record the job if the worker still owns the attempt."""
        if owned():
            self.started.append(lease.job_id)
        raise LeaseLost

    def close(self) -> None:
        """Release nothing."""


def test_recording_a_result_does_not_refresh_older_claims(harness: WorkerHarness) -> None:
    """Jobs claimed before a freeze are checked again, even if a result was recorded since."""
    store = harness.queue.store
    for _ in range(4):
        harness.add("true")
    handle = heartbeat.take_lock(store.worker_dir, "worker-1")
    assert handle is not None
    executor: Any = Recorder()
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
