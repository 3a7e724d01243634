"""The processes from which those of function jobs are forked: what they import, and when they must not fork."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from queuectl_nb.engine.python import fork_servers
from queuectl_nb.engine.python.fork_servers import ForkServers
from queuectl_nb.testing import temporary_queue
from tests.engine.forking_functions import is_forked, lock_and_fork
from tests.engine.harness import alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuectl_nb import Queue
    from tests.engine.harness import WorkerHarness

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def served() -> Iterator[Queue]:
    """Return a queue with a worker."""
    with temporary_queue() as queue, queue.start_workers(1):
        yield queue


def test_forks_of_a_job(served: Queue) -> None:
    """Handlers of forks, which do not run when a job is forked, run when the job itself forks."""
    assert served.submit(is_forked).result(TIMEOUT_S)
    assert served.submit(lock_and_fork).result(TIMEOUT_S) == 7


def test_a_fork_server_uses_no_directory_of_a_job(served: Queue) -> None:
    """A directory that an idle process uses could not be unmounted."""
    assert psutil.Process(served.submit(os.getppid).result(TIMEOUT_S)).cwd() == "/"


def test_a_stopped_fork_server_ends_with_its_worker(harness: WorkerHarness) -> None:
    """A rescuer that was killed after it had stopped the descendants of a frozen worker leaves none of them."""
    pool = harness.start()
    server = harness.queue.submit(os.getppid).result(TIMEOUT_S)
    worker = harness.freeze()  # it would let its fork server continue
    os.kill(server, signal.SIGSTOP)
    until(lambda: psutil.Process(server).status() == psutil.STATUS_STOPPED)
    assert pool.pid is not None
    os.kill(pool.pid, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    until(lambda: not alive(server))


def test_a_stopped_fork_server_continues(served: Queue) -> None:
    """One that was stopped while it was idle forks the next job."""
    server = served.submit(os.getppid).result(TIMEOUT_S)
    os.kill(server, signal.SIGSTOP)
    until(lambda: psutil.Process(server).status() == psutil.STATUS_STOPPED)
    assert served.submit(os.getppid).result(2 * TIMEOUT_S) == server


def test_main_thread(served: Queue) -> None:
    """The main thread of a job is that of its process."""
    pid, native_id, name = served.submit(
        lambda: (os.getpid(), threading.main_thread().native_id, threading.current_thread().name)
    ).result(TIMEOUT_S)
    assert (native_id, name) == (pid, "MainThread")


def test_end_of_logging(served: Queue) -> None:
    """At its end a job flushes the handlers of its own logs, but none that the fork server has."""

    def log_to_memory() -> int:
        import logging.handlers

        inherited = len(logging._handlerList)  # type: ignore[attr-defined]
        log = logging.getLogger("test")
        log.addHandler(logging.handlers.MemoryHandler(100, target=logging.StreamHandler(sys.stdout)))
        log.warning("flushed")
        return inherited

    job = served.submit(log_to_memory)
    assert job.result(TIMEOUT_S) == 0
    assert job.log("stdout") == "flushed\n"


@pytest.mark.parametrize(
    ("preload", "source", "forks"),
    [
        (
            "with_thread",
            "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
            False,
        ),
        (
            "with_gpu",
            "from queuectl_nb.child import fork_server\nfork_server.GPU_DEVICES = (__file__,)\nfile = open(__file__)",
            False,
        ),
        ("polars", "", False),
        ("math", "", True),
    ],
    ids=["thread", "GPU", "pool of threads", "nothing"],
)
def test_no_fork_with_threads_or_a_gpu(
    served: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preload: str, source: str, *, forks: bool
) -> None:
    """With a module that leaves threads or uses a GPU, each job is a new interpreter."""
    (tmp_path / f"{preload}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    served.set("preload", preload)
    try:
        until(lambda: served.submit(is_forked).result(TIMEOUT_S) == forks)
        assert served.submit(is_forked).result(TIMEOUT_S) == forks
        loaded = served.submit(lambda name: name in __import__("sys").modules, preload).result(TIMEOUT_S)
        assert loaded == (forks or preload == "math")
    finally:
        served.set("preload", "auto")


def test_imports_are_learned(served: Queue) -> None:
    """What a function has imported of a known package, also within it, is preloaded for its next call."""

    def import_it() -> tuple[bool, bool]:
        import sys

        name = "numpy." + "testing"
        known = name in sys.modules
        __import__(name)
        return known, "numpy" in sys.modules

    assert served.submit(import_it).result(TIMEOUT_S) == (False, True)
    assert served.submit(import_it).result(TIMEOUT_S) == (True, True)
    assert served.submit(lambda: "numpy" in __import__("sys").modules).result(TIMEOUT_S) is False


def test_nothing_is_learned_without_preload(served: Queue) -> None:
    """With the setting ``none``, nothing is imported in advance."""

    def import_it() -> bool:
        import sys

        name = "num" + "py"
        known = name in sys.modules
        __import__(name)
        return known

    served.set("preload", "none")
    try:
        until(lambda: served.submit(lambda: "cloudpickle" in __import__("sys").modules).result(TIMEOUT_S))
        assert [served.submit(import_it).result(TIMEOUT_S) for _ in range(3)] == [False, False, False]
    finally:
        served.set("preload", "auto")


def test_servers_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a server per interpreter, environment and packages in use; the least recently used one is ended."""
    monkeypatch.setattr(fork_servers, "MAX_SERVERS", 2)
    pids: set[int] = set()
    servers = ForkServers(pids)
    monkeypatch.setattr(fork_servers.ForkServer, "start", lambda self, _request, _handles: self.pid)

    def start(hints: list[str], environment: dict[bytes, bytes]) -> int:
        request = {"runtime": {"executable": sys.executable}, "name": "f", "preload": hints}
        started = servers.start(request, environment, (1, 2), "auto")
        assert started is not None
        return started[0]

    environment = {os.fsencode(key): os.fsencode(value) for key, value in os.environ.items()}
    other = {**environment, b"X": b"1"}
    first, second = start([], environment), start(["joblib"], environment)
    assert start([], environment) == first
    third = start([], other)
    assert start([], environment) == first
    assert start(["joblib"], environment) not in {first, second, third}
    until(lambda: all(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in (second, third)))
    servers.close()
    for pid in pids:
        os.waitpid(pid, 0)


def test_an_idle_server_ends() -> None:
    """A server that gets no requests for a while ends."""
    ours, theirs = socket.socketpair()
    code = f"from queuectl_nb.child import fork_server as f; f.IDLE_S = 1; f.main({theirs.fileno()})"
    with ours, theirs:
        process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()])
        assert process.wait(TIMEOUT_S) == 0
