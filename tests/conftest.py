"""What all tests share: fresh queues copied from one template, and who works on them.

A bench starts real workers, hands do by themselves what workers do, a desk has terminals, ``server`` is the web page's,
and ``run`` calls the console in this process. What these need is imported when they are asked for.
"""

from __future__ import annotations

import io
import os
import shutil
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

_OURS = ("QUEUECTL_DB", "NO_COLOR", "FORCE_COLOR", "QUEUECTL_JOB_ID")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer ``--soak`` for the long runs, and more rounds of the kernel's ends."""
    parser.addoption("--soak", action="store_true", help="also run the tests marked 'soak', which take minutes")
    parser.addoption("--p6-rounds", type=int, default=1, metavar="N", help="end real kernels in every way N times")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat what asks for ``p6_round`` as often as ``--p6-rounds`` says; twenty times in a soak."""
    if "p6_round" in metafunc.fixturenames:
        rounds = metafunc.config.getoption("--p6-rounds")
        if metafunc.config.getoption("--soak"):
            rounds = max(rounds, 20)
        metafunc.parametrize("p6_round", range(1, rounds + 1))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long runs out unless they are asked for."""
    if config.getoption("--soak"):
        return
    skip = pytest.mark.skip(reason="a long run: give --soak")
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the developer has set for queuectl out of the tests."""
    for name in _OURS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="session")
def _private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give all tests, and the programs that they start, a temporary home directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def template_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty queue's file, made once: making a schema imports sqlite-utils, which takes a second."""
    path = tmp_path_factory.mktemp("template") / "queue.db"
    Queue(path).close()
    assert not path.with_name("queue.db-wal").exists(), "the template must be one whole file"
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
    found = Queue(queue_path)
    yield found
    found.close()


@pytest.fixture
def bench(queue: Queue) -> Iterator[WorkerHarness]:
    """Return a bench on the fresh queue; the pools that it starts end with the test."""
    from tests.engine.harness import WorkerHarness

    found = WorkerHarness(queue)
    yield found
    found.close()


@pytest.fixture
def hands(queue: Queue) -> ManualWorker:
    """Return hands on the fresh queue."""
    from tests.commands.manual_worker import ManualWorker

    return ManualWorker(queue)


@pytest.fixture
def desk(queue_path: Path) -> Iterator[Terminals]:
    """Return a desk with the fresh queue, whose terminals are real processes; they are closed with the test."""
    from tests.journeys.terminals import Terminals

    found = Terminals(queue_path)
    yield found
    found.close()


@pytest.fixture
def server(queue_path: Path) -> Iterator[WebServer]:
    """Return a web server of the fresh queue, in a thread."""
    from tests.web.server import WebServer

    found = WebServer(queue_path)
    yield found
    found.close()


@dataclass(frozen=True, slots=True)
class Ran:
    """What a call of the console gave: its exit code and its two streams, as text and as bytes."""

    exit_code: int
    out: bytes
    err: bytes

    @property
    def stdout(self) -> str:
        """The answer as text."""
        return self.out.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """Progress, warnings and errors as text."""
        return self.err.decode("utf-8", "replace")


class _Stream(io.TextIOWrapper):
    """A standard stream in memory that may claim to be a terminal."""

    def __init__(self, raw: bytes = b"", *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(raw), encoding="utf-8", errors="surrogateescape", write_through=True)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def taken(self) -> bytes:
        self.flush()
        whole = self.buffer
        assert isinstance(whole, io.BytesIO)
        return whole.getvalue()


@pytest.fixture
def run(queue_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Return a function that calls the console in this process, on the fresh queue unless ``--db`` names another.

    ``run("enqueue", "--command", "true", stdin=b"", terminal=False)`` gives a :class:`Ran`.
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
        return Ran(code, out.taken(), err.taken())

    return call
