"""Control inputs of a worker: settings, stop requests and cancel requests.

They arrive through the supervisor's pipe, signals, FIFOs, the parent's death and the database.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import notifier, process_tree
from queuectl_nb.engine.poller import Poller
from queuectl_nb.model.errors import InvalidSetting

if TYPE_CHECKING:
    from queuectl_nb.engine.events import WorkerEvents
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.store import Store

__all__ = ["ORPHAN_GRACE_S", "POLL_INTERVAL_S", "STOP_SIGNALS", "Parent", "WorkerControl"]

ORPHAN_GRACE_S = 2.0
"""Seconds between SIGTERM and SIGKILL after the parent has died: everything must end within five seconds."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
POLL_INTERVAL_S = 1.0
"""Interval of the fallback poll, in case a notification was lost."""


class Parent:
    """The parent process, watched through a pidfd, or through our parent pid where pidfds are missing."""

    def __init__(self, pid: int) -> None:
        """Watch ``pid``, which must be the parent of this process."""
        self.pid = pid
        self.handle: int | None = None
        if sys.platform.startswith("linux"):
            with contextlib.suppress(OSError):
                self.handle = os.pidfd_open(pid)

    def gone(self) -> bool:
        """Return True if the parent has died: this process has a new parent then."""
        return os.getppid() != self.pid


class WorkerControl:
    """Stop requests and settings of one worker, refreshed on notification or every :data:`POLL_INTERVAL_S`.

    Attributes
    ----------
    stop
        ``drain``, ``now`` or None.
    orphaned
        Whether the parent has died.
    settings
        The last valid settings.
    next_poll_at
        Monotonic time of the next fallback poll.
    job_pid
        Process of the job that was started last.
    job_signal
        Number of a signal that the job has sent to the worker, until it is handled.
    """

    def __init__(self, store: Store, name: str, events: WorkerEvents) -> None:
        """Read the settings; :meth:`open` starts listening."""
        self.store = store
        self.name = name
        self.events = events
        self.stop: str | None = None
        self.orphaned = False
        self.notified = True
        self.settings: Settings = store.settings.read()
        self.next_poll_at = 0.0
        self.job_pid: int | None = None
        self.job_signal: int | None = None

    def open(self, pipe: int, parent: int, *, identify_senders: bool = False) -> None:
        """Listen to the supervisor's ``pipe``, signals, the FIFOs of the queue and the death of ``parent``.

        ``identify_senders`` tells the signals of jobs from those of others; :data:`STOP_SIGNALS` must be blocked.
        """
        spool = self.store.db.spool
        self._pipe = pipe
        self._parent = Parent(parent)
        self._poller = Poller()
        self._poller.catch_signals((signal.SIGCHLD, *STOP_SIGNALS))
        if identify_senders:
            self._poller.identify_senders(STOP_SIGNALS)
        os.set_blocking(pipe, False)
        self._poller.add("pipe", pipe)
        if self._parent.handle is not None:
            self._poller.add("parent", self._parent.handle)
        self._worker_fifo = notifier.open_fifo(notifier.worker_fifo(spool, self.name))
        self._poller.add("worker fifo", self._worker_fifo)
        self._work_fifo = notifier.open_fifo(notifier.work_fifo(spool))
        self._poller.add_exclusive("work fifo", self._work_fifo)
        if self._parent.gone():
            self._on_parent_death()

    def add(self, name: str, handle: int) -> None:
        """End waits when ``handle`` is readable, too; its owner must read it."""
        self._poller.add(name, handle)

    # ------------------------------------------------------------------ requests

    @property
    def kill_grace_s(self) -> float:
        """Seconds between SIGTERM and SIGKILL; shortened when the parent has died."""
        grace = self.settings.kill_grace
        return min(grace, ORPHAN_GRACE_S) if self.orphaned else grace

    def request_stop(self, how: str) -> None:
        """Stop by ``drain`` or ``now``; ``now`` is final."""
        if self.stop != "now":
            self.stop = how

    def refresh_due(self) -> bool:
        """Return True once per notification or poll interval."""
        now = time.monotonic()
        if not self.notified and now < self.next_poll_at:
            return False
        self.notified = False
        self.next_poll_at = now + POLL_INTERVAL_S
        return True

    def refresh(self) -> None:
        """Reload settings and stop requests; an invalid setting causes a warning and keeps its last valid value."""
        try:
            self.settings = self.store.settings.read()
        except InvalidSetting as error:
            self.events.warn(f"{error}; using the last valid value")
        if (how := self.store.workers.stop_request(self.name)) is not None:
            self.request_stop(how)

    # ------------------------------------------------------------------ waiting

    def wait_for_child(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for a child to end; the next :meth:`wait` handles everything else."""
        self._poller.wait_for_child(timeout)
        self._handle_signals()

    def wait(self, timeout: float, *, idle: bool) -> None:
        """Wait at most ``timeout`` seconds for any input and process it."""
        names = self._poller.wait(timeout, idle=idle)
        if "work fifo" in names:
            notifier.drain(self._work_fifo)
        if "worker fifo" in names:
            notifier.drain(self._worker_fifo)
            self.notified = True
        if "pipe" in names:
            self._read_pipe()
        if "parent" in names or (not names and self._parent.gone()):
            self._on_parent_death()
        self._handle_signals()

    def _handle_signals(self) -> None:
        """Stop upon SIGTERM or SIGINT, unless a job has sent it."""
        for number in self._poller.signals - {signal.SIGCHLD}:
            sender = self._poller.senders.pop(number, 0)
            chain = process_tree.ancestors(sender)
            name = signal.Signals(number).name
            if os.getpid() in chain[1:] or (sender and not chain and sender == self.job_pid):
                self.events.warn(f"ignored {name} from process {sender} of its own job")
                self.job_signal = number
            elif self._parent.pid in chain[1:]:
                self.events.warn(f"ignored {name} from process {sender} of a job of another worker")
            else:
                self.request_stop("now" if number == signal.SIGTERM or self.stop else "drain")
        self._poller.signals.clear()

    def _read_pipe(self) -> None:
        try:
            words = os.read(self._pipe, 4096)
        except BlockingIOError:
            return
        if not words:
            self._on_parent_death()
            return
        for word in words.decode("ascii", "replace").split():
            if word == "orphaned":
                self._on_parent_death()
            elif word in ("drain", "now"):
                self.request_stop(word)

    def _on_parent_death(self) -> None:
        """Stop now, and close the inputs from the parent."""
        if self.orphaned:
            return
        self.orphaned = True
        self.request_stop("now")
        self._poller.remove(self._pipe)
        if self._parent.handle is not None:
            self._poller.remove(self._parent.handle)
            self._parent.handle = None
