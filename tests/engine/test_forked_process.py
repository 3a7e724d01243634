"""Workers that are forks of their supervisor."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from queuectl_nb.client.workers import list_workers
from queuectl_nb.engine.config import WorkerConfig
from queuectl_nb.engine.events import Events
from queuectl_nb.engine.forked_process import ForkedProcess, can_fork
from queuectl_nb.engine.heartbeat import lock_path
from queuectl_nb.engine.proc_files import holds_all
from queuectl_nb.engine.supervisor import Supervisor
from queuectl_nb.engine.worker_process import WorkerProcess
from tests.engine.harness import until

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def open_files(pid: int) -> set[str]:
    """Return what the descriptors of a process refer to."""
    return {os.readlink(handle) for handle in Path(f"/proc/{pid}/fd").iterdir()}


def test_forked_workers_share_no_locks_and_pipes(harness: WorkerHarness) -> None:
    """A worker does not keep another one's lock, which would look alive, nor the pipe whose end it has to notice."""
    pool = harness.start(3)
    pids = {name: harness.worker_pid(name) for name in pool.names}
    until(lambda: all((harness.queue.store.worker_dir / f"{name}.fifo").exists() for name in pids))
    for name, pid in pids.items():
        locks = [other for other in pids if holds_all(pid, [lock_path(harness.queue.store.worker_dir, other)])]
        assert locks == [name]
        pipes = [target for target in open_files(pid) if target.startswith("pipe:")]
        assert len(pipes) == 2, "its own control pipe, and that for events"


def test_forked_workers_are_what_started_workers_are(harness: WorkerHarness) -> None:
    """Parent, session, command line and environment are those of a new process."""
    pool = harness.start(2)
    supervisor = psutil.Process(pool.pid)
    for each in list_workers(harness.queue.store):
        worker = psutil.Process(each["pid"])
        words = ["worker", each["name"], str(harness.path)]
        until(partial(lambda worker, words: worker.cmdline()[-3:] == words, worker, words))
        assert worker.environ() == supervisor.environ()
        assert worker.ppid() == pool.pid
        assert os.getsid(worker.pid) == pool.pid


def test_dead_forks_are_replaced_by_forks(harness: WorkerHarness) -> None:
    """A replacement is forked, too, and its pid is recorded."""
    pool = harness.start(2)
    first = harness.worker_pid()
    os.kill(first, 9)
    second = until(lambda: next((pid for pid in [harness.worker_pid()] if pid != first), None))
    maps = [Path(f"/proc/{pid}/maps").read_text().splitlines() for pid in (pool.pid, second)]
    assert len({line for each in maps for line in each if "[vdso]" in line}) == 1, "each exec chooses another address"
    assert harness.add("true").wait(timeout=60).exit_code == 0


GAPS = """
from queuectl_nb.engine.forked_process import fill_heap_gaps
kept = [bytes(1000) for _ in range(2000)]
last = max(map(id, kept))
del kept[::2]
fill_heap_gaps()
later = [bytes(size) for size in range(600, 2000, 10)]
print(sum(id(each) < last for each in later))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs the GNU C library")
def test_children_leave_gaps_alone() -> None:
    """Children put new objects behind those that they share, not between them."""
    done = subprocess.run([sys.executable, "-c", GAPS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10


def test_exception_in_a_fork(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception ends the child with its traceback; no code of the parent runs on in the child."""
    monkeypatch.setattr(sys, "stderr", open(2, "w", buffering=1, closefd=False))  # noqa: SIM115

    def fail() -> int:
        raise ZeroDivisionError

    process = ForkedProcess(fail, (), ["worker"])
    process.wait()
    process.stdin.close()
    assert process.returncode == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_no_fork_with_threads() -> None:
    """A process with threads is not forked: a lock that another thread holds would be held in the child for ever."""
    until(can_fork)  # a thread of an earlier test may be ending
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    assert not can_fork()
    end.set()
    thread.join()


def test_pids_are_recorded_once_the_database_is_free(harness: WorkerHarness) -> None:
    """A database that is busy while workers start delays nothing; their pids are recorded later."""
    store = harness.queue.store
    config = WorkerConfig(db=harness.path, detach=True)
    supervisor = Supervisor(store, config, Events(os.open(os.devnull, os.O_WRONLY)), ())
    (worker,) = WorkerProcess.register(store, config)
    supervisor.workers = [worker]
    store.db.set_lock_timeout(0.02)
    with store.db.write_lock.request(1), pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "start", lambda *_: os.getpid())
        supervisor._start([worker])
        assert [row.pid for row in store.workers.list_all()] == [None]
    supervisor.maintenance_at = time.monotonic()
    supervisor._run_maintenance()
    assert [row.pid for row in store.workers.list_all()] == [os.getpid()]
    os.close(worker.lock)
