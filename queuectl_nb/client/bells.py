"""Ringing those whom a change concerns: any idle worker, or certain ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.engine import notifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuectl_nb.store.store import Store

__all__ = ["notify_idle_worker", "notify_workers"]


def notify_idle_worker(store: Store) -> None:
    """Wake one idle worker: there may be work."""
    notifier.notify(notifier.work_fifo(store.db.spool))


def notify_workers(store: Store, names: Iterable[str]) -> None:
    """Wake certain workers: a stop, a cancel or another setting concerns them."""
    for each in names:
        notifier.notify(notifier.worker_fifo(store.db.spool, each))
