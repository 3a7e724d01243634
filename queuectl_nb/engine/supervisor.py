"""The supervisor: starts workers, restarts those that die, settles their attempts and stops them all.

It is a subreaper: processes that a dead worker leaves behind become its children, and are killed before the job is
given to another worker. It also settles for workers of other supervisors that are gone, prunes old jobs
(``retention``) and shrinks the database file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat, process_tree
from queuectl_nb.engine.control import CONTROL_PIPE
from queuectl_nb.engine.forked_process import fill_heap_gaps
from queuectl_nb.engine.notifier import unregister_worker
from queuectl_nb.engine.poller import Poller
from queuectl_nb.engine.pool_size import PoolSize
from queuectl_nb.engine.proc_files import ancestors
from queuectl_nb.engine.rescuer import Rescued, Rescuer
from queuectl_nb.engine.resource_limits import ResourceLimits
from queuectl_nb.engine.worker_process import KILL_MARGIN_S, WorkerProcess, reap
from queuectl_nb.model.errors import BadEnvironment, InvalidSetting, QueuectlError
from queuectl_nb.store.maintenance import Housekeeping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuectl_nb.engine.config import WorkerConfig
    from queuectl_nb.engine.events import Events
    from queuectl_nb.store.store import Store

__all__ = ["Supervisor"]

MAINTENANCE_INTERVAL_S = 1.0
SETTLE_INTERVAL_S = 0.5
"""Pause before attempts of a dead worker that could not be settled are tried again."""
LOCK_TIMEOUT_S = 0.5
"""Time that the supervisor waits for the write lock before it attends to its processes again."""


class Supervisor:
    """Runs the workers of one pool; :meth:`work` returns the exit code when all of them have ended."""

    def __init__(self, store: Store, config: WorkerConfig, events: Events, signals: Iterable[int]) -> None:
        """Prepare ``config.processes`` workers on ``store``; ``signals`` are SIGCHLD and those that stop the pool."""
        self.store = store
        self.config = config
        self.events = events
        self.workers: list[WorkerProcess] = []
        self.unrecorded_pids: dict[str, int] = {}
        """Pids, by name, of workers whose rows do not have them yet."""
        self.limits = ResourceLimits()
        self.rescuer = Rescuer(store, lambda: reap(self.workers))
        self.settings = store.settings.read()
        self.freeze_detector = heartbeat.FreezeDetector(store.worker_dir)
        self.stop: str | None = None
        self.maintenance_at = 0.0
        self.housekeeping = Housekeeping(store)
        self.size = PoolSize(store, config)
        self.last_warning = ""
        """Error of the last maintenance run; reported once."""
        self.exit_code = 0
        self.poller = Poller(signals)
        self.attached = not config.detach
        """Whether the pool ends with the process that started it."""
        if self.attached:
            self.poller.add("control", CONTROL_PIPE)
            if sys.platform.startswith("linux"):
                with contextlib.suppress(OSError):  # it has died
                    self.config = replace(config, starter=os.pidfd_open(config.parent))
                    self.poller.add("starter", self.config.starter)

    def work(self) -> int:
        """Start the workers and supervise them until all have ended."""
        rescued = self.rescuer.rescue_dead()
        self.workers = WorkerProcess.register(self.store, self.config, self.config.processes)
        self.store.db.set_lock_timeout(LOCK_TIMEOUT_S)
        self.store.db.close()  # frees its memory
        fill_heap_gaps()
        self._start(self.workers)
        self._report_rescued(rescued)
        self.events.emit("pool_ready", workers=[worker.name for worker in self.workers], pid=os.getpid())
        self.events.flush()
        while not all(worker.ended for worker in self.workers):
            due_at = min(self.maintenance_at, *(worker.due_at for worker in self.workers))
            names = self.poller.wait(max(0.0, due_at - time.monotonic()))
            self.limits.restore()  # which a job may have lowered
            self._read_control(names)
            reap(self.workers)
            self._handle_exits()
            self._run_maintenance()
            self.events.flush()
        process_tree.kill_descendants()  # of workers that were not settled in time
        return self.exit_code

    # ------------------------------------------------------------------ stop

    def _read_control(self, names: set[str]) -> None:
        """Process control words, signals and the death of the starter."""
        orphaned = "starter" in names or (self.attached and os.getppid() != self.config.parent)
        if "control" in names:
            words = os.read(CONTROL_PIPE, 4096).decode("ascii", "replace").split()
            orphaned = orphaned or not words
            for word in words:
                self._broadcast_stop(word)
            self.maintenance_at = 0.0  # the word may be "scale"
        if orphaned:
            self._on_orphaned()
        for number, sender in self.poller.signals.items():
            if number == signal.SIGCHLD:
                continue
            chain = ancestors(sender)
            if not self._is_of_job(number, sender, chain):
                if sender and not chain:
                    for worker in self.workers:
                        worker.send("sender-ended")
                self._broadcast_stop("drain" if number == signal.SIGINT and self.stop is None else "now")
        self.poller.signals.clear()

    def _is_of_job(self, number: int, sender: int, chain: list[int]) -> bool:
        """Return True if a job of this pool has sent a signal, and let its worker end the job.

        ``chain`` are the sender and its ancestors.
        """
        if chain and os.getpid() not in chain[1:]:
            return False
        for worker in self.workers:
            if child := worker.child_in(chain, sender, self.store.worker_dir):
                text = f"ignored {signal.Signals(number).name} from its job"
                self.events.emit("warning", worker=worker.name, text=text)
                worker.send(f"signal:{number}:{child}")
                return True
        return bool(chain)

    def _broadcast_stop(self, how: str) -> None:
        """Stop all workers by ``drain``, ``now`` or ``orphaned`` (now, with a short grace)."""
        if how not in ("drain", "now", "orphaned"):
            return
        self.stop = how
        for worker in self.workers:
            worker.request_stop(how, self.settings.kill_grace)

    def _on_orphaned(self) -> None:
        """Stop everything within five seconds: the process that started the pool has died."""
        self.attached = False
        self.poller.remove(CONTROL_PIPE)
        if self.config.starter >= 0:
            self.poller.remove(self.config.starter)
        self._broadcast_stop("orphaned")

    # ------------------------------------------------------------------ workers

    def _start(self, workers: Iterable[WorkerProcess]) -> None:
        """Start the processes of these workers and record their pids; none that would inherit lowered limits."""
        for worker in workers:
            self.freeze_detector.forget(worker.name)
            if not self.limits.restore():
                text = "not started: a job has lowered the resource limits of the supervisor; start the workers again"
                self.events.emit("warning", worker=worker.name, text=text)
                worker.retiring, self.exit_code = True, BadEnvironment.exit_code
            elif (pid := worker.start(self.store, self.config, self.events)) is not None:
                self.unrecorded_pids[worker.name] = pid
            self.events.flush()  # before those of the worker
        with contextlib.suppress(QueuectlError):  # the next maintenance run repeats it
            self._record_pids()

    def _record_pids(self) -> None:
        if self.unrecorded_pids:
            self.store.workers.mark_running(self.unrecorded_pids, time.time())
            self.unrecorded_pids = {}

    def _handle_exits(self) -> None:
        """Settle for workers that have ended and restart or retire them; kill those that do not stop in time."""
        now = time.monotonic()
        for worker in list(self.workers):
            if worker.process is not None and worker.process.returncode is not None:
                gone = self.store.db.is_replaced() or self._files_removed(worker)
                code = worker.on_exit(self.events, gone=gone)
                if code == BadEnvironment.exit_code and worker.retiring:
                    self.exit_code = code
                if self.config.dask and not worker.retiring:
                    self._start_replacement(worker)
            worker.kill_if_due(now)
            if not worker.ended and (worker.process is None or now >= worker.leave_at):
                self._settle_and_restart(worker)

    def _start_replacement(self, worker: WorkerProcess) -> None:
        """Register another dispatcher beside a dead one: settling remote attempts takes as long as a lease."""
        try:
            (replacement,) = WorkerProcess.register(self.store, self.config)
        except QueuectlError as error:  # then it is restarted once it is settled, like any worker
            self.events.emit("warning", worker=worker.name, text=str(error))
        else:
            replacement.inherit_backoff(worker)
            self.workers.append(replacement)

    def _settle_and_restart(self, worker: WorkerProcess) -> None:
        """Settle what the worker held, retrying until it works or has to end; then restart or unregister it."""
        now = time.monotonic()
        if not worker.settled and now >= worker.settle_at and now < worker.leave_at:
            worker.settled = self._settle_for(worker)
            worker.settle_at = time.monotonic() + SETTLE_INTERVAL_S
        if worker.settled and (worker.retiring or worker.stop is not None):
            self._unregister(worker)
        elif worker.settled and now >= worker.restart_at:
            self._start([worker])
        elif not worker.settled and (worker.stop == "orphaned" or now >= worker.leave_at):
            text = "the database cannot be written; the next workers on this queue record its results from its journal"
            self.events.emit("warning", worker=worker.name, text=text)
            self._release(worker)

    def _settle_for(self, worker: WorkerProcess) -> bool:
        """Kill leftover processes of a dead worker and settle its attempts; return True if it holds nothing more."""
        alive = [other.process.pid for other in self.workers if other.process is not None]
        me, descendants = os.getpid(), process_tree.descendants
        if not process_tree.kill_until_gone(
            lambda: descendants(me, exclude=alive) or descendants(me, exclude=alive, scan=True),
            KILL_MARGIN_S,
            lambda: reap(self.workers),
        ):
            return False
        try:
            self._report_rescued(self.rescuer.settle_for(worker.name, "died"))
            return not self.rescuer.held_leases(worker.name)
        except QueuectlError as error:
            self._warn(worker, error)
            return self.store.db.is_replaced() or self._files_removed(worker)

    def _files_removed(self, worker: WorkerProcess) -> bool:
        """Return True if the worker's lock file was removed, so that it cannot work any more."""
        return not heartbeat.is_current(worker.lock, self.store.worker_dir, worker.name)

    def _unregister(self, worker: WorkerProcess) -> None:
        """Remove the worker's row, if there is time for it, and release its lock."""
        if time.monotonic() < worker.leave_at:
            try:
                unregister_worker(self.store, worker.name)
            except QueuectlError as error:
                self._warn(worker, error)
        self._release(worker)

    def _release(self, worker: WorkerProcess) -> None:
        """Release the worker's lock: the next process that finds its row removes it and settles what it still holds."""
        worker.ended = True
        os.close(worker.lock)
        self.events.emit("worker_stopped", worker=worker.name)

    def _warn(self, worker: WorkerProcess, error: QueuectlError) -> None:
        """Emit a warning, unless the file is gone: the first to notice it reports that."""
        if not self.store.db.is_replaced():
            self.events.emit("warning", worker=worker.name, text=str(error))

    # ------------------------------------------------------------------ maintenance

    def _run_maintenance(self) -> None:
        """Rescue jobs of lost and frozen workers of any supervisor, prune old jobs, and shrink the file."""
        now = time.monotonic()
        if now < self.maintenance_at:
            return
        self.maintenance_at = now + MAINTENANCE_INTERVAL_S
        warning = ""
        try:
            self.store.db.check_identity()
            self._record_pids()
            with contextlib.suppress(InvalidSetting):  # keep the last valid settings; the workers report it
                self.settings = self.store.settings.read()
            rows = self.store.workers.list_all()
            requests = {row.name: row.stop for row in rows if row.stop is not None}
            for worker in self.workers:  # also those without a process
                if worker.name in requests:
                    worker.request_stop(requests[worker.name], self.settings.kill_grace)
            if self.stop is None and (size := self.size.requested()) is not None:
                added = self.size.change(size, self.workers, self.settings.kill_grace)
                self.workers += added
                self._start(added)
            self._report_rescued(self.rescuer.rescue_dead())
            names = [row.name for row in rows]
            frozen = self.freeze_detector.find_frozen(names, now, self.settings.lease, MAINTENANCE_INTERVAL_S)
            self._report_rescued(self.rescuer.rescue_frozen(frozen))
            for worker in self.workers:
                worker.kill_if_frozen(self.freeze_detector, self.settings.lease, self.events)
            self.housekeeping.run(self.settings.retention)
        except QueuectlError as error:
            warning = str(error)
            if self.store.db.is_replaced():
                self._broadcast_stop("now")
        if warning and warning != self.last_warning:
            self.events.emit("warning", worker="pool", text=warning)
        self.last_warning = warning

    def _report_rescued(self, rescued: list[Rescued]) -> None:
        for job_id, was in rescued:
            name = self.workers[0].name if self.workers else "pool"
            self.events.emit("rescued", worker=name, job=job_id, was=was)
