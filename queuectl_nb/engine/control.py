"""Control inputs of a worker: settings, stop requests and cancel requests.

They arrive through the supervisor's pipe, signals, FIFOs, the death of supervisor or starter, and the database.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import notifier
from queuectl_nb.engine.poller import Poller
from queuectl_nb.engine.proc_files import ancestors
from queuectl_nb.engine.worker_record import started_processes
from queuectl_nb.model.errors import InvalidSetting
from queuectl_nb.model.outcome import SignalledWorker

if TYPE_CHECKING:
    from queuectl_nb.engine.events import WorkerEvents
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.store import Store

__all__ = [
    "CONTROL_PIPE",
    "ORPHAN_GRACE_S",
    "POLL_INTERVAL_S",
    "REPLACE_EXIT_CODE",
    "STOP_SIGNALS",
    "WorkerControl",
    "remote_lease_s",
]

ORPHAN_GRACE_S = 2.0
"""Seconds between SIGTERM and SIGKILL after the parent has died: everything must end within five seconds."""
CONTROL_PIPE = 0
"""Descriptor of the pipe through which a starter controls its supervisor, and a supervisor its workers."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
REPLACE_EXIT_CODE = os.EX_TEMPFAIL
"""Exit code of a worker that has stopped because of a signal that a job may have sent."""
POLL_INTERVAL_S = 1.0
"""Interval of the fallback poll, in case a notification was lost."""
EXPIRY_MARGIN_S = 1.0
"""Time allowed for another host to act on an expired lease."""


def remote_lease_s(settings: Settings) -> float:
    """Return the time from the last message of a dispatcher until all its remote attempts have ended.

    An agent without messages ends its commands when the lease expires: SIGTERM, at most the orphan grace, SIGKILL.
    """
    return settings.lease + min(settings.kill_grace, ORPHAN_GRACE_S) + EXPIRY_MARGIN_S


class WorkerControl:
    """Stop requests and settings of one worker, refreshed on notification or every :data:`POLL_INTERVAL_S`.

    Attributes
    ----------
    stop
        ``drain``, ``now`` or None.
    orphaned
        Whether the supervisor has died, or the process that started the pool.
    supervisor_died
        Whether the supervisor has died before it has asked this worker to stop now.
    sender_ended
        Whether a stop signal to the worker or its supervisor came from a process that ended before its ancestors were
        read: a job may have started it.
    settings
        The last valid settings.
    workers
        Number of workers of the queue at the last refresh.
    next_poll_at
        Monotonic time of the next fallback poll.
    job_pid
        Process of the job that was started last.
    hop
        Number of the notification of new work (:mod:`.notifier`) that has ended the last wait; 0 if none has.
    job_signal
        The outcome of a job that has sent a stop signal to its worker or supervisor, until that is handled.
    """

    def __init__(self, store: Store, name: str, events: WorkerEvents) -> None:
        """Read the settings; :meth:`open` starts listening."""
        self.store = store
        self.name = name
        self.events = events
        self.stop: str | None = None
        self.orphaned = self.supervisor_died = self.sender_ended = False
        self.notified = True
        self.settings: Settings = store.settings.read()
        self.workers = 1
        self._stored: tuple[object, ...] = ()
        """The stored settings when they were last parsed."""
        self._version = -1
        """Version of the database when it was last read."""
        self.next_poll_at = 0.0
        self.job_pid: int | None = None
        self.hop = 0
        self.job_signal: SignalledWorker | None = None

    def open(self, supervisor: int, starter: int) -> None:
        """Listen to the supervisor's pipe, signals, the FIFOs of the queue and the death of ``supervisor`` (a pid).

        ``starter`` is a pidfd of the process that started the pool, or -1: the supervisor may be frozen when it dies.
        """
        spool = self.store.db.spool
        self._supervisor = supervisor
        self._poller = Poller((signal.SIGCHLD, *STOP_SIGNALS))
        os.set_blocking(CONTROL_PIPE, False)
        self._lifelines = {"control": CONTROL_PIPE}
        if starter >= 0:
            self._lifelines["starter"] = starter
        for name, handle in self._lifelines.items():
            self._poller.add(name, handle)
        self._worker_fifo = notifier.open_fifo(notifier.worker_fifo(spool, self.name))
        self._poller.add("worker fifo", self._worker_fifo)
        self._work_fifo = notifier.open_fifo(notifier.work_fifo(spool))
        self._poller.add_exclusive("work fifo", self._work_fifo)

    def add(self, name: str, handle: int) -> None:
        """End waits when ``handle`` is readable, too; its owner must read it."""
        self._poller.add(name, handle)

    # ------------------------------------------------------------------ requests

    @property
    def kill_grace_s(self) -> float:
        """Seconds between SIGTERM and SIGKILL; shortened when the supervisor or the starter has died."""
        grace = self.settings.kill_grace
        return min(grace, ORPHAN_GRACE_S) if self.orphaned else grace

    def request_stop(self, how: str) -> None:
        """Stop by ``drain`` or ``now``; ``now`` is final."""
        if self.stop != "now":
            self.stop = how

    def receive_notification(self) -> bool:
        """Return True if settings or requests have changed since the last wait; then :meth:`refresh_due` is true."""
        self.notified = bool(notifier.drain(self._worker_fifo)) or self.notified
        return self.notified

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
        version = self.store.db.data_version()
        if version == self._version:
            return
        stop, stored, self.workers = self.store.workers.read_inputs(self.name)
        if stored != self._stored:
            self._stored = stored
            try:
                self.settings = self.store.settings.parse(stored)
            except InvalidSetting as error:
                self.events.warn(f"{error}; using the last valid value")
        if stop is not None:
            self.request_stop(stop)
        self._version = version

    # ------------------------------------------------------------------ waiting

    def wait_for_child(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for a child to end; the next :meth:`wait` handles everything else."""
        self._poller.wait_for_child(timeout)
        self._handle_signals()

    def wait(self, timeout: float, *, idle: bool) -> None:
        """Wait at most ``timeout`` seconds for any input and process it."""
        names = self._poller.wait(timeout, idle=idle)
        self.hop = notifier.drain(self._work_fifo) if "work fifo" in names else 0
        if "worker fifo" in names:
            self.receive_notification()
        if "control" in names:
            self._read_control()
        if os.getppid() != self._supervisor:
            self._on_supervisor_died()
        if "starter" in names:
            self._on_orphaned()
        self._handle_signals()

    def _handle_signals(self) -> None:
        """Stop upon SIGTERM or SIGINT, unless a job has sent it."""
        for number, sender in self._poller.signals.items():
            if number == signal.SIGCHLD:
                continue
            name = signal.Signals(number).name
            chain = ancestors(sender)
            if self._is_of_job(sender, chain):
                self.events.warn(f"ignored {name} from process {sender} of its own job")
                self.job_signal = SignalledWorker(number)
            elif self._is_of_other_job(sender, chain):
                self.events.warn(f"ignored {name} from process {sender} of a job of another worker")
            else:
                self.sender_ended = self.sender_ended or bool(sender and not chain)
                self.request_stop("now" if number == signal.SIGTERM or self.stop else "drain")
        self._poller.signals.clear()

    def _is_of_job(self, pid: int, chain: list[int]) -> bool:
        """Return True if ``pid``, with these ancestors, is a process of the job that was started last, or was one."""
        return os.getpid() in chain[1:] or (bool(pid) and not chain and pid == self.job_pid)

    def _is_of_other_job(self, pid: int, chain: list[int]) -> bool:
        """Return True if ``pid`` is a process of another worker's job; if it has ended, only its first one is known."""
        if chain:
            return self._supervisor in chain[1:]
        return bool(pid) and pid in started_processes(self.store.worker_dir)

    def _read_control(self) -> None:
        """Read stop words and the supervisor's findings about the sender of a signal.

        ``signal:NUMBER:PID`` is a signal from a job, ``sender-ended`` one from a process that has ended.
        """
        words = os.read(CONTROL_PIPE, 4096).decode("ascii").split()
        for word in words:
            match word.split(":"):
                case ["drain" | "now"]:
                    self.request_stop(word)
                case ["signal", number, pid] if self._is_of_job(int(pid), ancestors(int(pid))):
                    self.job_signal = SignalledWorker(int(number), "supervisor")
                case ["sender-ended"]:
                    self.sender_ended = True
        if not words:
            self._on_supervisor_died()
        if "orphaned" in words:
            self._on_orphaned()

    def _on_supervisor_died(self) -> None:
        self.supervisor_died = self.supervisor_died or self.stop != "now"
        self._on_orphaned()

    def _on_orphaned(self) -> None:
        """Stop now, with a short grace: nobody waits for this worker any more."""
        self.orphaned = True
        self.request_stop("now")
        for handle in self._lifelines.values():
            self._poller.remove(handle)
        self._lifelines.clear()
