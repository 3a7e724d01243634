"""Jobs that change the resource limits of their worker or fork server: later jobs have the usual ones."""

from __future__ import annotations

import os
import resource
import signal
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from queuectl_nb.engine.resource_limits import ResourceLimits
from queuectl_nb.engine.worker import Worker
from queuectl_nb.engine.worker_core import WorkerCore
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

    executor = cast("Any", SimpleNamespace(restore_limits=lambda _server: False))
    store = harness.queue.store
    worker = Worker(WorkerCore(store, QuietControl(store), host="here", drain=True), executor)
    monkeypatch.setattr(os, "kill", record_kill)
    run = SimpleNamespace(server=None, lease=SimpleNamespace(job_id="job-1"))
    with pytest.raises(InterruptedError) as caught:
        worker._collect(cast("Any", SimpleNamespace(run=run)))
    assert caught.value.args == (os.getpid(), signal.SIGKILL)
