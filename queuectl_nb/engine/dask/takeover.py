"""Takes over the attempts of dead dispatchers.

Their commands may have ended while no dispatcher was running. How they ended is recorded on the
disks of the dask workers' hosts, which only a dispatcher can reach.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.dask.dispatch_table import read_dispatched
from queuectl_nb.engine.outcome_journal import lock_journal, read_journal
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.store.claims import Claims

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.dispatch_table import DispatchTable
    from queuectl_nb.engine.worker_core import WorkerCore
    from queuectl_nb.model.attempt import Lease

__all__ = ["take_over"]

LOCK_TIMEOUT_S = 5.0
"""How long to wait for a rescuer, which kills what the dispatcher has left on this host."""
LOCK_INTERVAL_S = 0.02


def take_over(core: WorkerCore, table: DispatchTable, predecessor: str) -> dict[str, list[Lease]]:
    """Hold what ``predecessor`` and other dead dispatchers have sent and not recorded; return it by dispatcher.

    What cannot be taken over is lost when its lease is over.
    """
    workers, folder = core.store.workers, core.store.worker_dir
    try:
        dead = [row.name for row in workers.list_all() if heartbeat.is_dead(folder, row)]
        names = dict.fromkeys([predecessor, *dead, *workers.orphaned_workers()])
        taken = {name: _take_over_from(name, core, table) for name in names if name not in ("", core.control.name)}
    except (QueuectlError, OSError) as error:
        core.events.warn(f"cannot take over the attempts of other dispatchers: {error}")
        return {}
    return {name: leases for name, leases in taken.items() if leases}


def _take_over_from(name: str, core: WorkerCore, table: DispatchTable) -> list[Lease]:
    folder = core.store.worker_dir
    dispatched, claims = read_dispatched(folder, name), Claims(core.store.db, name, "")
    if not dispatched or not claims.held_leases():
        return []
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while (handle := lock_journal(folder, name)) is None:
        if time.monotonic() >= deadline:
            return []
        time.sleep(LOCK_INTERVAL_S)
    try:
        recorded = read_journal(folder, name)
        tokens = [each.token for each in claims.held_leases() if each.token in dispatched - recorded.keys()]
        for token in tokens:  # first: a rescuer must not take them for attempts that were never sent
            table.add(token)
        return core.claims.take_over(tokens)
    finally:
        os.close(handle)
