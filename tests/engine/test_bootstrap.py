"""Start of a worker process."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.engine.bootstrap import _register_running
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.engine.control import WorkerControl


class FakeControl:
    """Control inputs that release the database and receive a stop at the first wait."""

    def __init__(self, held: ExitStack, stop: str | None) -> None:
        """Release ``held`` at the first wait and receive ``stop`` then."""
        self.stop: str | None = None
        self._held = held
        self._next_stop = stop

    def wait(self, _timeout: float, *, idle: bool) -> None:
        """Release the database and receive the stop request."""
        assert not idle
        self._held.close()
        self.stop = self._next_stop


@pytest.mark.parametrize("stop", [None, "now"])
def test_a_worker_registers_once_the_database_is_free_unless_stopped(queue_path: Path, stop: str | None) -> None:
    """A worker that finds the database busy retries, and exits if it is stopped meanwhile."""
    store = Store(queue_path)
    store.workers.register(lambda _name: True, pool=1, host="here", queues=[], now=0.0)
    store.db.set_lock_timeout(0.02)
    with ExitStack() as held:
        held.enter_context(store.db.write_lock.request(1))
        control: WorkerControl = FakeControl(held, stop)  # type: ignore[assignment]
        assert _register_running(store, "worker-1", control) is (stop is None)
    (row,) = store.workers.list_all()
    assert row.pid == (os.getpid() if stop is None else None)
    store.db.close()


def test_the_limit_of_address_space_does_not_reduce_the_workers() -> None:
    """``ulimit -v`` applies to each process: it says nothing about how many processes may run."""
    code = (
        "from queuectl_nb.engine.bootstrap import _count_startable_threads;"
        "import resource, threading; resource.setrlimit(resource.RLIMIT_AS, (300_000_000,) * 2);"
        "print(_count_startable_threads(200), threading.stack_size())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "200 0\n"
