"""Duration after which a lease has expired on other hosts too, so that none of its processes can be running."""

from __future__ import annotations

import time

from queuectl_nb.engine.control import ORPHAN_GRACE_S
from queuectl_nb.model.settings import Settings

__all__ = ["boot_clock", "remote_lease_s"]

MARGIN_S = 1.0
"""Time allowed for a host to act on an expired lease."""
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def boot_clock() -> float:
    """Return monotonic seconds that include suspended time; comparable within one host and boot."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


def remote_lease_s(settings: Settings) -> float:
    """Return the time from the last message of a dispatcher until all its remote attempts have ended.

    An agent without messages ends its commands when the lease expires: SIGTERM, at most the orphan grace, SIGKILL.
    """
    return settings.lease + min(settings.kill_grace, ORPHAN_GRACE_S) + MARGIN_S
