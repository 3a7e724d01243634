"""How a worker process begins: it signs in, however busy the queue is."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.engine.bootstrap import _sign_in
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.engine.control import WorkerControl


class Ears:
    """Orders that have something happen when they are waited for."""

    def __init__(self, held: ExitStack, stop: str | None) -> None:
        """Let ``held`` go at the first wait, and hear ``stop`` then."""
        self.stop: str | None = None
        self._held = held
        self._then = stop

    def wait(self, _timeout: float, *, idle: bool) -> None:
        """Hear what there is."""
        assert not idle
        self._held.close()
        self.stop = self._then


@pytest.mark.parametrize("stop", [None, "now"])
def test_a_worker_signs_in_once_the_file_is_free_unless_it_is_stopped(queue_path: Path, stop: str | None) -> None:
    """One that finds the file held neither dies nor gives up: it waits, and hears a stop meanwhile."""
    store = Store(queue_path)
    store.workers.register(lambda _name: True, pool=1, host="here", queues=[], now=0.0)
    store.db.set_lock_timeout(0.02)
    with ExitStack() as held:
        held.enter_context(store.db.write_lock.request(1))
        ears: WorkerControl = Ears(held, stop)  # type: ignore[assignment]
        assert _sign_in(store, "worker-1", ears) is (stop is None)
    (row,) = store.workers.list_all()
    assert row.pid == (os.getpid() if stop is None else None)
    store.db.close()
