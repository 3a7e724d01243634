"""What a worker is told while it works: by its pool through a pipe, by signals, by its bell, by its pool's death."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from queuectl_nb.engine import notifier
from queuectl_nb.engine.poller import Poller

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ORPHAN_GRACE", "ControlInputs", "Parent"]

ORPHAN_GRACE = 2.0
"""Seconds from TERM to KILL when whoever started us is gone: everything must have ended within five."""


class Parent:
    """The process that must be alive: a pidfd of it, or, without pidfds, our own parent's pid."""

    def __init__(self, pid: int) -> None:
        """Watch ``pid``, which must be this process's parent."""
        self.pid = pid
        self.handle: int | None = None
        if sys.platform.startswith("linux"):
            with contextlib.suppress(OSError):
                self.handle = os.pidfd_open(pid)

    def gone(self) -> bool:
        """Tell whether the parent is gone; a new parent means that the old one died."""
        return os.getppid() != self.pid


class ControlInputs:
    """The worker's ears. ``stop`` is None, ``drain`` or ``now``; ``grace`` bounds the time for jobs to end."""

    def __init__(self, spool: Path, name: str, control: int, parent: int) -> None:
        """Listen to the pipe ``control``, the bells in ``spool`` and the life of ``parent``."""
        self.stop: str | None = None
        self.grace: float | None = None
        self.rang = True
        self._control = control
        self._parent = Parent(parent)
        self._waiter = Poller()
        self._waiter.catch((signal.SIGCHLD, signal.SIGTERM, signal.SIGINT))
        os.set_blocking(control, False)
        self._waiter.add("control", control)
        if self._parent.handle is not None:
            self._waiter.add("parent", self._parent.handle)
        self._bell = notifier.listen(notifier.worker_fifo(spool, name))
        self._waiter.add("bell", self._bell)
        self._doorbell = notifier.listen(notifier.work_fifo(spool))
        self._waiter.add_exclusive("doorbell", self._doorbell)
        if self._parent.gone():
            self._orphaned()

    def listen(self, name: str, handle: int) -> None:
        """Let waits end, too, when ``handle`` is readable; whoever gave it empties it."""
        self._waiter.add(name, handle)

    def request_stop(self, how: str) -> None:
        """Stop by ``drain`` or ``now``; ``now`` is not taken back."""
        if self.stop != "now":
            self.stop = how

    def wait_for_child(self, timeout: float) -> None:
        """Wait until a child ends, ``timeout`` seconds at most; whatever else happens is heard by the next wait."""
        self._waiter.wait_for_child(timeout)

    def wait(self, timeout: float, *, idle: bool) -> None:
        """Wait until something happens, ``timeout`` seconds at most, and take in what did."""
        names = self._waiter.wait(timeout, idle=idle)
        if "doorbell" in names:
            notifier.drain(self._doorbell)
        if "bell" in names:
            notifier.drain(self._bell)
            self.rang = True
        if "control" in names:
            self._read_control()
        if "parent" in names or (not names and self._parent.gone()):
            self._orphaned()
        for number in self._waiter.signals - {signal.SIGCHLD}:
            self.request_stop("now" if number == signal.SIGTERM or self.stop else "drain")
        self._waiter.signals.clear()

    def _read_control(self) -> None:
        try:
            words = os.read(self._control, 4096)
        except BlockingIOError:
            return
        if not words:
            self._orphaned()
            return
        for word in words.decode("ascii", "replace").split():
            if word == "orphaned":
                self._orphaned()
            elif word in ("drain", "now"):
                self.request_stop(word)

    def _orphaned(self) -> None:
        """Whoever started us is gone: end soon, and listen to nobody else."""
        if self.grace is not None:
            return
        self.request_stop("now")
        self.grace = ORPHAN_GRACE
        self._waiter.drop(self._control)
        if self._parent.handle is not None:
            self._waiter.drop(self._parent.handle)
            self._parent.handle = None
