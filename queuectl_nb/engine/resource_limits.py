"""Resource limits of supervisor, workers and fork servers: a job can change them, and later jobs would inherit that."""

from __future__ import annotations

import resource

__all__ = ["ResourceLimits"]

_NAMES = ("AS", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
_NUMBERS = tuple(getattr(resource, f"RLIMIT_{name}") for name in _NAMES if hasattr(resource, f"RLIMIT_{name}"))


class ResourceLimits:
    """The limits that this process has when the object is created."""

    def __init__(self) -> None:
        """Read them."""
        self._limits = [resource.getrlimit(number) for number in _NUMBERS]

    def restore(self) -> bool:
        """Return False if some have changed and cannot be restored: raising a hard limit takes privileges."""
        if [resource.getrlimit(number) for number in _NUMBERS] == self._limits:
            return True
        restored = True
        for number, limits in zip(_NUMBERS, self._limits, strict=True):
            try:
                resource.setrlimit(number, limits)
            except (OSError, ValueError):
                restored = False
        return restored

    def are_those_of(self, pid: int) -> bool:
        """Return True if another process has the same limits, or if the system cannot tell (macOS)."""
        if not hasattr(resource, "prlimit"):
            return True
        try:
            return [resource.prlimit(pid, number) for number in _NUMBERS] == self._limits
        except OSError:
            return False
