"""When a lease has run out on another host, too: after it nothing that was sent there can run any more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queuectl_nb.engine.control import ORPHAN_GRACE_S

if TYPE_CHECKING:
    from queuectl_nb.model.settings import Settings

__all__ = ["boot_clock", "remote_lease_s"]

MARGIN = 1.0
"""Seconds that a host may take to do what it is due to do."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def boot_clock() -> float:
    """Return seconds that only go forward, while the machine sleeps too; comparable within one host and boot."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def remote_lease_s(settings: Settings) -> float:
    """Return the seconds from the last word of a dispatcher until all that it sent away has ended.

    A host that hears nothing ends its commands when the lease runs out: TERM, the grace of orphans at most, KILL.
    """
    return settings.lease + min(settings.kill_grace, ORPHAN_GRACE_S) + MARGIN
