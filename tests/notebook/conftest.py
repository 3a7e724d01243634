"""Fixtures: an IPython shell with the extension, a kernel, a dashboard and its page."""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from queuectl_nb.notebook.dashboard import viewers
from queuectl_nb.notebook.dashboard.dashboard import Dashboard
from tests.engine.harness import until
from tests.notebook.kernels import Kernel
from tests.notebook.pages import NEVER_S, Page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuectl_nb.client import Queue


@pytest.fixture
def shell(queue_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a shell with the extension loaded, using the test's queue."""
    monkeypatch.setenv("QUEUECTL_DB", str(queue_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # a shell replaces it
    InteractiveShell.clear_instance()
    found: Any = InteractiveShell.instance()
    found.history_manager.enabled = False
    found.Completer.use_jedi = False
    found.run_line_magic("load_ext", "queuectl_nb")
    yield found
    found.run_line_magic("unload_ext", "queuectl_nb")
    InteractiveShell.clear_instance()
    # run its exit handler now, while its folder exists
    atexit.unregister(found.atexit_operations)
    found.atexit_operations()


@pytest.fixture
def kernel(queue_path: Path) -> Iterator[Kernel]:
    """Return a kernel that uses the test's queue."""
    found = Kernel(queue_path)
    yield found
    found.close()


@pytest.fixture
def cell(shell: Any) -> Any:
    """Return a function that runs a cell and returns its value or raises its error."""

    def run(source: str) -> Any:
        ran = shell.run_cell(source)
        ran.raise_error()
        return ran.result

    return run


@pytest.fixture
def dashboard(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    """Return a dashboard of a queue with three jobs; heartbeats never time out."""
    monkeypatch.setattr(viewers, "HEARTBEAT_TIMEOUT_S", NEVER_S)
    for each in "abc":
        queue.enqueue(f"echo {each}", id=each, queue="gpu" if each == "c" else None)
    found = Dashboard(queue)
    yield found
    found.close()


@pytest.fixture
def page(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> Page:
    """Return a loaded page that has received its rows."""
    found = Page(dashboard, monkeypatch)
    found.open()
    until(lambda: found.shown() == ["c", "b", "a"])
    return found
