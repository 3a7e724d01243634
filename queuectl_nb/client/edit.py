"""Change fields of jobs that have not finished."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.enqueue import plain_fields
from queuectl_nb.client.job_actions import notify_idle_worker, notify_workers
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import EDIT_FIELDS, parse_fields
from queuectl_nb.store.boot_time import read_boot_time
from queuectl_nb.store.edit import edit_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuectl_nb.store.store import Store

__all__ = ["edit"]


def edit(store: Store, ids: Sequence[str], changes: Mapping[str, Any]) -> list[str]:
    """Change fields of jobs in one transaction, all or none, and wake those that wait for it; return the ids."""
    fields = parse_fields(plain_fields(changes), EDIT_FIELDS)
    if not fields:
        raise BadInput(f"there is nothing to change; give one of {', '.join(EDIT_FIELDS)}")
    if not ids:
        raise BadInput("give the ids of jobs")
    workers = edit_jobs(store.db, list(dict.fromkeys(ids)), fields, time.time(), read_boot_time())
    notify_workers(store, workers)
    notify_idle_worker(store)
    return list(dict.fromkeys(ids))
