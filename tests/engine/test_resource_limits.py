"""Jobs that change the resource limits of their worker or fork server: later jobs have the usual ones."""

from __future__ import annotations

import os
import resource
import signal
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import psutil
import pytest

from queuectl_nb.client.workers import list_workers
from queuectl_nb.engine.config import WorkerConfig
from queuectl_nb.engine.events import Events
from queuectl_nb.engine.resource_limits import ResourceLimits
from queuectl_nb.engine.supervisor import Supervisor
from queuectl_nb.engine.worker import Worker
from queuectl_nb.engine.worker_core import WorkerCore
from queuectl_nb.engine.worker_process import WorkerProcess
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.state import State
from tests.engine.harness import until
from tests.engine.test_frozen import QuietControl

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")

LOWER = (
    "import os, resource as r; r.prlimit(os.getppid(), r.RLIMIT_STACK, (1000, 1000));"
    "r.prlimit(os.getppid(), r.RLIMIT_NOFILE, (10, 10)); r.prlimit(os.getppid(), r.RLIMIT_FSIZE, (0, 0))"
)


def test_limits_of_a_worker_are_restored(harness: WorkerHarness) -> None:
    """The next job runs with the limits of the one before; without privileges, another worker runs it."""
    harness.start()
    limits = "ulimit -n; ulimit -s; ulimit -f"
    before = harness.add(limits).wait(timeout=60).log("stdout")
    harness.add(f'exec {sys.executable} -c "{LOWER}"', max_retries=1).wait(timeout=60)
    assert harness.add(limits).wait(timeout=60).log("stdout") == before


LIMITED_BYTES = 2**30
LIMIT = (
    f"import os, resource as r; r.prlimit({{pid}}, r.RLIMIT_FSIZE, ({LIMITED_BYTES}, r.getrlimit(r.RLIMIT_FSIZE)[1]))"
)
"""Code that changes a limit of a process; unlike others, this one does no harm until it is restored."""


def file_size_limit(pid: int) -> int:
    """Return what :data:`LIMIT` changes."""
    return resource.prlimit(pid, resource.RLIMIT_FSIZE)[0]


def test_limits_of_the_supervisor_are_restored(harness: WorkerHarness) -> None:
    """A worker that is replaced later has the usual limits, as have its jobs."""
    pool = harness.start()
    before = harness.add("ulimit -f").wait(timeout=60).log("stdout")
    os.kill(pool.pid, signal.SIGSTOP)
    harness.add(f'exec {sys.executable} -c "{LIMIT.format(pid=pool.pid)}"').wait(timeout=60)
    assert file_size_limit(pool.pid) == LIMITED_BYTES
    os.kill(harness.worker_pid(), signal.SIGKILL)
    os.kill(pool.pid, signal.SIGCONT)
    assert harness.add("ulimit -f").wait(timeout=60).log("stdout") == before


def test_limits_of_an_idle_worker_are_restored(harness: WorkerHarness) -> None:
    """Those that a job of another worker has changed, too."""
    harness.start(2)
    pids = [harness.worker_pid(name) for name in ("worker-1", "worker-2")]
    before = harness.add("ulimit -f").wait(timeout=60).log("stdout")
    code = f"{LIMIT.format(pid=f'sum({pids}) - os.getppid()')}; import time; time.sleep(600)"
    # both have waited since their last job
    until(lambda: all(psutil.Process(pid).status() == psutil.STATUS_SLEEPING for pid in pids))
    other = harness.add(f'exec {sys.executable} -c "{code}"', timeout=0)
    until(lambda: LIMITED_BYTES in map(file_size_limit, pids))
    assert harness.add("ulimit -f").wait(timeout=60).log("stdout") == before
    assert other.refresh().state is State.PROCESSING


def test_no_worker_starts_with_limits_that_cannot_be_restored(harness: WorkerHarness) -> None:
    """The pool works on with the other workers, and ends with an error; the jobs wait for the next one."""
    config = WorkerConfig(db=harness.path, detach=True)
    events = Events(os.open(os.devnull, os.O_WRONLY))
    supervisor = Supervisor(harness.queue.store, config, events, ())
    supervisor.limits = cast("Any", SimpleNamespace(restore=lambda: False))
    (worker,) = WorkerProcess.register(harness.queue.store, config)
    supervisor._start([worker])
    assert (worker.process, supervisor.exit_code) == (None, BadEnvironment.exit_code)
    supervisor._settle_and_restart(worker)
    assert worker.ended
    assert list_workers(harness.queue.store) == []


def test_a_fork_server_with_changed_limits_is_replaced(harness: WorkerHarness) -> None:
    """The next function is forked from a new one."""

    def lower() -> None:
        resource.prlimit(os.getppid(), resource.RLIMIT_STACK, (1000, 1000))

    def read() -> tuple[int, int]:
        return resource.getrlimit(resource.RLIMIT_STACK)

    harness.start()
    before = harness.queue.submit(read).result(60)
    harness.queue.submit(lower).result(60)
    assert harness.queue.submit(read).result(60) == before


def test_limits_that_cannot_be_restored(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker kills itself, so that its supervisor replaces it: with too few files it could not even exit."""
    limits = ResourceLimits()
    assert limits.restore()
    assert limits.are_those_of(os.getpid())
    assert not limits.are_those_of(2**22 + 1)

    def refuse(*_: object) -> NoReturn:
        raise PermissionError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert not limits.restore()
    monkeypatch.undo()

    def record_kill(pid: int, number: int) -> NoReturn:
        raise InterruptedError(pid, number)

    executor = cast("Any", SimpleNamespace(restore_limits=lambda: False))
    store = harness.queue.store
    worker = Worker(WorkerCore(store, QuietControl(store), host="here", drain=True), executor)
    monkeypatch.setattr(os, "kill", record_kill)
    with pytest.raises(InterruptedError) as caught:
        worker._collect(cast("Any", SimpleNamespace(run=None)))
    assert caught.value.args == (os.getpid(), signal.SIGKILL)
