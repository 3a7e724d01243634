"""The clock of leases between hosts: it goes on while a machine sleeps, so that a lease ends there too."""

from __future__ import annotations

import time

__all__ = ["steady"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def steady() -> float:
    """Return seconds that only go forward; comparable within one host and boot."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
