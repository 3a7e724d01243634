"""The clock since boot, by which delays and backoffs end: setting the wall clock does not change them.

``due_boottime`` of a job is a time of this clock. It is only valid during the boot that table ``clock`` names; from the
next boot on, ``run_at`` counts, a time of the wall clock. ``--run-at`` is always a time of the wall clock.
"""

from __future__ import annotations

import math
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3

__all__ = ["WALL_CLOCK_ONLY", "BootTime", "NextDue", "read_boot_time", "record_boot"]


class BootTime(NamedTuple):
    """Seconds since boot, including suspended time, and an id of the boot; None and empty if there is no such clock."""

    boot: str
    seconds: float | None


WALL_CLOCK_ONLY = BootTime("", None)


@cache
def _boot_id() -> str:
    """Return an id of this boot and time namespace, which may shift the clock; empty where it is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = Path("/proc/self/ns/time")
        return f"{boot} {namespace.readlink()}" if namespace.is_symlink() else boot
    except OSError:
        return ""


def read_boot_time() -> BootTime:
    """Return the current time since boot."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None or not _boot_id():
        return WALL_CLOCK_ONLY
    return BootTime(_boot_id(), time.clock_gettime(clock))


def record_boot(connection: sqlite3.Connection, boot: str) -> None:
    """Record the boot; if another one was recorded, its jobs are due by the wall clock.

    Workers do this when they register, so that a reader can compare times.
    """
    recorded: str = connection.execute(Q.boot).fetchone()[0]
    if recorded != boot:
        connection.execute(Q.forget_boottimes)
        connection.execute(Q.record_boot, {"boot": boot})


class NextDue(NamedTuple):
    """When the next job is due: the earliest by the wall clock, and the earliest by the time since boot."""

    run_at: float | None
    boottime: float | None

    def remaining_s(self, now: float, boottime: BootTime) -> float:
        """Return the seconds until then; infinity if there is no such job."""
        left = math.inf if self.run_at is None else self.run_at - now
        if self.boottime is not None and boottime.seconds is not None:
            left = min(left, self.boottime - boottime.seconds)
        return left
