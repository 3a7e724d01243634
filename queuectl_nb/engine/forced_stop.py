"""Ends workers that do not stop when asked: their supervisor is stopped (SIGSTOP), or nothing can be written."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.proc_files import holds_all
from queuectl_nb.engine.rescuer import Rescuer
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.model.settings import Settings
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from queuectl_nb.store.workers import WorkerRow

__all__ = [
    "FORCE_MARGIN_S",
    "force_stop",
    "is_running",
    "read_kill_grace",
    "second_store",
    "signal_workers",
]

FORCE_MARGIN_S = 2.5
"""Time beyond the kill grace after which workers that have to stop now, and their supervisor, are killed."""
LOCK_TIMEOUT_S = 0.5
SETTLE_TIMEOUT_S = 1.0
"""Time for killed processes to release their locks, and for settling their attempts."""


@contextlib.contextmanager
def second_store(path: Path) -> Iterator[Store]:
    """Open the queue a second time, with a short time to wait for other writers."""
    store = Store(path, allow_network_fs=True)
    store.db.set_lock_timeout(LOCK_TIMEOUT_S)
    try:
        yield store
    finally:
        store.db.close()


def is_running(store: Store, row: WorkerRow, pid: int) -> bool:
    """Return True if ``pid`` is the process of this worker, or its supervisor: both have its lock file open."""
    lock = heartbeat.lock_path(store.worker_dir, row.name)
    return row.host == heartbeat.host_name() and holds_all(pid, [lock])


def read_kill_grace(store: Store) -> float:
    """Return the setting ``kill_grace``, or its default if it cannot be read."""
    try:
        return store.settings.read().kill_grace
    except QueuectlError:
        return Settings.from_stored({}).kill_grace


def signal_workers(store: Store, rows: Sequence[WorkerRow], number: int) -> bool:
    """Send a signal to the processes of these workers on this host; return whether there are any."""
    running = [row.pid for row in rows if row.pid is not None and is_running(store, row, row.pid)]
    for pid in running:
        _send(pid, number)
    return bool(running)


def force_stop(path: Path, names: Collection[str]) -> None:
    """Kill these workers, and their supervisors unless they have other workers; settle their attempts if possible.

    What cannot be settled stays in the journals, and the next workers on the queue record it.
    """
    with contextlib.suppress(QueuectlError), second_store(path) as store:
        _force_stop(store, names)


def _force_stop(store: Store, names: Collection[str]) -> None:
    rows = store.workers.list_all()
    needed = {row.pool for row in rows if row.name not in names}
    chosen = [row for row in rows if row.name in names]
    for row in chosen:
        if row.pool not in needed and is_running(store, row, row.pool):
            _send(row.pool, signal.SIGKILL)
    signal_workers(store, chosen, signal.SIGKILL)
    began = time.monotonic()
    dead_by, settled_by = began + SETTLE_TIMEOUT_S / 2, began + SETTLE_TIMEOUT_S
    while time.monotonic() < dead_by and not all(heartbeat.is_dead(store.worker_dir, row) for row in chosen):
        time.sleep(0.01)
    rescuer = Rescuer(store)
    unsettled = set(names)  # not only dead ones: a supervisor that is stopped holds the locks of its workers
    while unsettled:
        for name in sorted(unsettled):
            with contextlib.suppress(QueuectlError):
                rescuer.settle_for(name, "died")
                if not rescuer.held_leases(name):
                    unsettled.remove(name)
        if time.monotonic() > settled_by:
            break
        time.sleep(0.01)
    rescuer.rescue_dead()


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
