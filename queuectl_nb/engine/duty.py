"""What a worker or dispatcher owes to others: it follows the settings, and hears who wants it or a job of it to end.

Others write their wishes into the database and ring the bell; whoever is on duty looks then, and once in a while
without a bell, in case one was lost.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import InvalidSetting

if TYPE_CHECKING:
    from queuectl_nb.engine.control import ControlInputs
    from queuectl_nb.engine.report import WorkerEvents
    from queuectl_nb.engine.work_buffer import WorkBuffer
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.store import Store

__all__ = ["POLL_INTERVAL_S", "WorkerControl"]

POLL_INTERVAL_S = 1.0
"""Seconds between looks that no bell asked for: the safety net."""


class WorkerControl:
    """The wishes of others for the worker ``name``, as far as they were looked up."""

    def __init__(self, store: Store, name: str, orders: ControlInputs, report: WorkerEvents) -> None:
        """Look into ``store``; what stops the worker goes to ``orders``, what is wrong to ``report``."""
        self.store = store
        self.name = name
        self.orders = orders
        self.report = report
        self.settings: Settings = store.settings.read()
        self.look_at = 0.0
        """The monotonic second of the next look that needs no bell."""

    @property
    def kill_grace_s(self) -> float:
        """Seconds from TERM to KILL: the setting, or less where whoever started us is gone."""
        grace = self.settings.kill_grace
        return grace if self.orders.grace is None else min(grace, self.orders.grace)

    def can_exit(self, ledger: WorkBuffer) -> bool:
        """Tell whether all is recorded, or nobody waits for us any more: then the next pool reads it in the journal."""
        return ledger.settled or (self.orders.grace is not None and ledger.blocked)

    def refresh_due(self) -> bool:
        """Tell whether a look is due, because of a bell or of the time; whoever asks takes it."""
        now = time.monotonic()
        if not self.orders.rang and now < self.look_at:
            return False
        self.orders.rang = False
        self.look_at = now + POLL_INTERVAL_S
        return True

    def refresh(self) -> None:
        """Read the settings, and whether the worker is to stop; a spoilt setting keeps its last good value."""
        try:
            self.settings = self.store.settings.read()
        except InvalidSetting as spoilt:
            self.report.warn(f"{spoilt}; working on with the last good value")
        if (how := self.store.workers.stop_request(self.name)) is not None:
            self.orders.request_stop(how)
