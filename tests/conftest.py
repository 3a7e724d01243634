"""Fixtures shared by all tests: fresh queues, copied from one template, and ways to drive them.

``harness`` starts real workers, ``manual_worker`` claims and settles jobs without processes, ``terminals`` runs the
command line in real processes, ``server`` serves the web page, and ``run`` calls the command line in this process.
Each fixture imports what it needs on first use.
"""

from __future__ import annotations

import gc
import io
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.commands.manual_worker import ManualWorker
    from tests.engine.harness import WorkerHarness
    from tests.journeys.terminals import Terminals
    from tests.web.server import WebServer

_ENVIRONMENT_VARIABLES = ("QUEUECTL_DB", "NO_COLOR", "FORCE_COLOR", "QUEUECTL_JOB_ID")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--soak`` for long tests, and options for how long or how often some of them run."""
    parser.addoption("--soak", action="store_true", help="also run the tests marked 'soak', which take minutes")
    parser.addoption("--web-minutes", type=float, default=10, metavar="N", help="soak the web server for N minutes")
    parser.addoption("--kernel-rounds", type=int, default=1, metavar="N", help="end real kernels in every way N times")


def pytest_configure() -> None:
    """Restore the signals that a background job or ``nohup`` ignores: the processes that tests signal inherit them."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat tests with a ``kernel_round`` argument ``--kernel-rounds`` times, at least 20 times with ``--soak``."""
    if "kernel_round" in metafunc.fixturenames:
        rounds = metafunc.config.getoption("--kernel-rounds")
        if metafunc.config.getoption("--soak"):
            rounds = max(rounds, 20)
        metafunc.parametrize("kernel_round", range(1, rounds + 1))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip long tests unless ``--soak`` is given."""
    if config.getoption("--soak"):
        return
    skip = pytest.mark.skip(reason="long test: needs --soak")
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Exclude what exists before the first test from garbage collections, which IPython runs for each shell."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's own queuectl settings from the environment."""
    for name in _ENVIRONMENT_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _same_signal_mask() -> Iterator[None]:
    """Restore the blocked signals after each test; child processes inherit them."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@pytest.fixture(autouse=True, scope="session")
def _private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a temporary home directory for the tests and all processes they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def template_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of an empty queue, created once because importing sqlite-utils takes a second."""
    path = tmp_path_factory.mktemp("template") / "queue.db"
    Queue(path).close()
    assert not path.with_name("queue.db-wal").exists(), "the template must be a single file"
    return path


@pytest.fixture
def queue_path(template_path: Path, tmp_path: Path) -> Path:
    """Return the path of a fresh, empty queue."""
    path = tmp_path / "queue.db"
    shutil.copyfile(template_path, path)
    path.chmod(0o600)
    return path


@pytest.fixture
def queue(queue_path: Path) -> Iterator[Queue]:
    """Return a fresh, empty queue."""
    queue = Queue(queue_path)
    yield queue
    queue.close()


@pytest.fixture
def harness(queue: Queue) -> Iterator[WorkerHarness]:
    """Return a harness on the fresh queue; its pools are stopped after the test."""
    from tests.engine.harness import WorkerHarness

    harness = WorkerHarness(queue)
    yield harness
    harness.close()


@pytest.fixture
def manual_worker(queue: Queue) -> ManualWorker:
    """Return a manual worker on the fresh queue."""
    from tests.commands.manual_worker import ManualWorker

    return ManualWorker(queue)


@pytest.fixture
def terminals(queue_path: Path, run: Callable[..., Ran]) -> Iterator[Terminals]:
    """Return a factory of terminals on the fresh queue; they are closed after the test."""
    from tests.journeys.terminals import Terminals

    terminals = Terminals(queue_path, run)
    yield terminals
    terminals.close()


@pytest.fixture
def server(queue_path: Path) -> Iterator[WebServer]:
    """Return a web server for the fresh queue, running in a thread."""
    from tests.web.server import WebServer

    server = WebServer(queue_path)
    yield server
    server.close()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a small file system (``size=1m``, ``ro``) and returns its folder."""
    if os.geteuid() != 0 or sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root on Linux")
    folders: list[Path] = []

    def mount(options: str, source: Path | None = None) -> Path:
        folder = tmp_path / f"mount-{len(folders)}"
        folder.mkdir()
        how = ["--bind", str(source)] if source else ["-t", "tmpfs", "tmpfs"]
        done = subprocess.run(["mount", "-o", options, *how, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no mounting here: {done.stderr.strip()}")
        folders.append(folder)
        if source and "ro" in options:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
def small_disk(mounted: Callable[[str], Path]) -> Path:
    """Return a directory on a file system of its own, of 4 MiB."""
    return mounted("size=4m")


@dataclass(frozen=True, slots=True)
class Ran:
    """Result of a command line call: exit code and both streams, as text and as bytes."""

    exit_code: int
    out: bytes
    err: bytes

    @property
    def stdout(self) -> str:
        """Standard output as text."""
        return self.out.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """Standard error as text."""
        return self.err.decode("utf-8", "replace")


class _Stream(io.TextIOWrapper):
    """In-memory standard stream that can pretend to be a terminal."""

    def __init__(self, raw: bytes = b"", *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(raw), encoding="utf-8", errors="surrogateescape", write_through=True)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def captured(self) -> bytes:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue()


@pytest.fixture
def run(queue_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Return a function that calls the command line in this process, on the fresh queue unless ``--db`` is given.

    ``run("enqueue", "--command", "true", stdin=b"", terminal=False)`` returns a :class:`Ran`.
    """
    from queuectl_nb.cli.main import main

    monkeypatch.setenv("QUEUECTL_DB", os.fspath(queue_path))

    def call(*words: str, stdin: bytes = b"", terminal: bool = False) -> Ran:
        out, err = _Stream(terminal=terminal), _Stream(terminal=terminal)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", _Stream(stdin))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = main(list(words))
        return Ran(code, out.captured(), err.captured())

    return call
