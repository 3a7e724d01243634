"""The pool: parent of the workers. Starts them, replaces those that die, settles what they held, ends them all.

A subreaper: whatever a dead worker leaves behind becomes a child of the pool and is ended before its job is given
to anybody else. It also looks after the workers of pools that are gone, and removes old jobs (``retention``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine import heartbeat, process_tree
from queuectl_nb.engine.control import ORPHAN_GRACE_S, Parent
from queuectl_nb.engine.poller import Poller
from queuectl_nb.engine.rescuer import Rescued, Rescuer
from queuectl_nb.engine.worker_process import WorkerProcess
from queuectl_nb.model.errors import BadEnvironment, InvalidSetting, QueuectlError

if TYPE_CHECKING:
    from queuectl_nb.engine.events import Events
    from queuectl_nb.store.store import Store

__all__ = ["Supervisor"]

PACE = 1.0
"""Seconds between looks at other pools' workers."""
PATIENCE = 0.5
"""Seconds that a pool waits for the write gate before it looks after its processes again."""
KILL_MARGIN = 1.5
"""Seconds beyond the grace after which a worker that does not end is killed."""
PRUNE_PACE = 600.0
PRUNED_A_LOOK = 500


class Supervisor:
    """The pool's whole life: :meth:`work` returns its exit code when all workers have ended."""

    def __init__(self, store: Store, config: dict[str, Any], events: Events) -> None:
        """Run ``config['count']`` workers on ``store``; see the supervisor for the configuration's keys."""
        self.store = store
        self.config = config
        self.events = events
        self.workers: list[WorkerProcess] = []
        self.rescuer = Rescuer(store, self._reap)
        self.settings = store.settings.read()
        self.watch = heartbeat.FreezeDetector(store.worker_dir)
        self.dask: dict[str, Any] | None = config.get("dask")
        """Where the jobs run, if that is elsewhere; then the one worker is a dispatcher."""
        self.stop: str | None = None
        self.kill_at: float | None = None
        self.look_at = 0.0
        self.worry = ""
        """What went wrong with the last look; told once while it lasts."""
        self.prune_at = time.monotonic() + PRUNE_PACE
        self.exit_code = 0
        self.parent = Parent(config["parent"]) if config["lifeline"] else None
        self.waiter = Poller()
        self.waiter.catch((signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        if config["lifeline"]:
            os.set_blocking(0, False)
            self.waiter.add("control", 0)
        if self.parent is not None and self.parent.handle is not None:
            self.waiter.add("parent", self.parent.handle)

    # ------------------------------------------------------------------ life

    def work(self) -> int:
        """Start the workers and look after them until all have ended."""
        rescued = self.rescuer.rescue_dead()
        for _ in range(self.config["count"]):
            self._register()
        self.store.db.set_lock_timeout(PATIENCE)  # from here on there is somebody to look after
        started = {worker.name: worker.start(self.config, self.events) for worker in self.workers}
        pids = {name: pid for name, pid in started.items() if pid is not None}
        with contextlib.suppress(QueuectlError):  # each tells it itself when it is awake: who looks may be faster
            self.store.workers.mark_running(pids, time.time())
        self._tell_rescued(rescued)
        self.events.emit("pool_ready", workers=[worker.name for worker in self.workers], pid=os.getpid())
        self.events.flush()
        if self.parent is not None and self.parent.gone():
            self._orphaned()
        while not all(worker.ended for worker in self.workers):
            self._hear(self.waiter.wait(self._pause()))
            self._reap()
            self._after_deaths()
            self._look()
            self.events.flush()
        return self.exit_code

    def _pause(self) -> float:
        now = time.monotonic()
        times = [self.look_at]
        if self.kill_at is not None:
            times.append(self.kill_at)
        waiting = [worker for worker in self.workers if worker.process is None and not worker.ended]
        times += [worker.restart_at if worker.settled else worker.settle_at for worker in waiting]
        return max(0.0, min(times) - now)

    def _hear(self, names: set[str]) -> None:
        """Take in words of whoever started us, signals, and its death."""
        if "control" in names:
            words = b""
            with contextlib.suppress(BlockingIOError):
                words = os.read(0, 4096)
                if not words:
                    self._orphaned()
            for word in words.split():
                self._pass_on(word.decode("ascii", "replace"))
        if "parent" in names or (self.parent is not None and self.parent.gone()):
            self._orphaned()
        for number in self.waiter.signals - {signal.SIGCHLD}:
            self._pass_on("drain" if number == signal.SIGINT and self.stop is None else "now")
        self.waiter.signals.clear()

    def _pass_on(self, word: str) -> None:
        """Ask all workers to stop by ``drain`` or ``now`` (``orphaned``: now, and soon)."""
        if word not in ("drain", "now", "orphaned"):
            return
        self.stop = word if self.stop != "orphaned" else self.stop
        if word != "drain" and self.kill_at is None:
            grace = ORPHAN_GRACE_S if word == "orphaned" else self.settings.kill_grace
            self.kill_at = time.monotonic() + grace + KILL_MARGIN
        for worker in self.workers:
            worker.tell(word)

    def _orphaned(self) -> None:
        """Whoever started us is gone: everything ends within five seconds."""
        if self.parent is None:
            return
        self.waiter.drop(0)
        if self.parent.handle is not None:
            self.waiter.drop(self.parent.handle)
        self.parent = None
        self.kill_at = None
        self._pass_on("orphaned")

    # ------------------------------------------------------------------ workers

    def _register(self) -> None:
        """Take a free name; the lock is held before the name can be seen, and for as long as the pool lives."""
        locks: dict[str, int] = {}

        def hold(name: str) -> bool:
            handle = heartbeat.take_lock(self.store.worker_dir, name)
            if handle is not None:
                locks[name] = handle
            return handle is not None

        try:
            name = self.store.workers.register(
                hold,
                pool=os.getpid(),
                host=heartbeat.host(),
                queues=self.config["queues"],
                now=time.time(),
            )
        except BaseException:
            for handle in locks.values():
                os.close(handle)
            raise
        self.workers.append(WorkerProcess(name, locks[name]))

    def _reap(self) -> None:
        """Reap what fell to us as the subreaper; our workers are reaped by their own handles."""
        ours = {worker.process.pid: worker for worker in self.workers if worker.process is not None}
        if not hasattr(os, "waitid"):  # macOS, where orphans do not fall to us
            for worker in self.workers:
                if worker.process is not None:
                    worker.process.poll()
            return
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            mine = ours.pop(ended.si_pid, None)
            if mine is None or mine.process is None:
                os.waitpid(ended.si_pid, 0)
            else:
                mine.process.wait()

    def _after_deaths(self) -> None:
        """Settle for workers that ended; then replace them, when their pause is over, or let them go."""
        now = time.monotonic()
        for worker in list(self.workers):
            if worker.process is not None and worker.process.returncode is not None:
                code = worker.bury(self.events, stopping=self.stop is not None, gone=self.store.db.is_replaced())
                if code == BadEnvironment.exit_code and worker.goodbye:
                    self.exit_code = code
                if self.dask and not worker.goodbye and self.stop is None:
                    self._succeed(worker)
            if worker.process is None and not worker.ended:
                self._follow(worker)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = now + KILL_MARGIN
            for worker in self.workers:
                if worker.process is not None:
                    worker.process.kill()

    def _succeed(self, worker: WorkerProcess) -> None:
        """Put another dispatcher beside a dead one: what that had sent away takes a lease to settle."""
        try:
            self._register()
        except QueuectlError as error:  # then it is replaced when it is settled, as any worker
            self.events.emit("warning", worker=worker.name, text=str(error))
        else:
            self.workers[-1].succeed(worker)

    def _follow(self, worker: WorkerProcess) -> None:
        """Settle what the worker held, as often as it takes; only then replace it or take it off the register."""
        if not worker.settled and time.monotonic() >= worker.settle_at:
            worker.settled = self._settle_for(worker)
            worker.settle_at = time.monotonic() + PACE
        if worker.settled and (worker.goodbye or self.stop is not None):
            self._retire(worker)
        elif worker.settled and time.monotonic() >= worker.restart_at:
            worker.start(self.config, self.events)
        elif not worker.settled and self.stop == "orphaned":
            # nobody waits for us any more: its journal tells the next pool on this queue what became of its job
            worker.ended = True

    def _settle_for(self, worker: WorkerProcess) -> bool:
        """End what a dead worker left and settle what it held; tell whether nothing is held any more."""
        alive = [other.process.pid for other in self.workers if other.process is not None]
        me, descendants = os.getpid(), process_tree.descendants
        process_tree.end_all(
            lambda: descendants(me, spare=alive) or descendants(me, spare=alive, scan=True), KILL_MARGIN, self._reap
        )
        try:
            self._tell_rescued(self.rescuer.settle_for(worker.name, "died"))
            return not self.rescuer.held_by(worker.name)
        except QueuectlError as error:
            self._worry(worker, error)
            return self.store.db.is_replaced()

    def _retire(self, worker: WorkerProcess) -> None:
        """Take the worker off the register: it ended as it was asked to. Its lock file stays, free for another."""
        worker.ended = True
        try:
            self.store.workers.remove(worker.name)
        except QueuectlError as error:
            self._worry(worker, error)
        os.close(worker.lock)
        self.events.emit("worker_stopped", worker=worker.name)

    def _worry(self, worker: WorkerProcess, error: QueuectlError) -> None:
        """Tell what went wrong; that the file is gone was told by who found that out."""
        if not self.store.db.is_replaced():
            self.events.emit("warning", worker=worker.name, text=str(error))

    # ------------------------------------------------------------------ others

    def _look(self) -> None:
        """Rescue what lost workers of any pool held, end what hangs on a frozen one, remove what is too old."""
        now = time.monotonic()
        if now < self.look_at:
            return
        self.look_at = now + PACE
        worry = ""
        try:
            self.store.db.check_identity()
            with contextlib.suppress(InvalidSetting):  # the last good ones hold; the workers tell of it
                self.settings = self.store.settings.read()
            self._tell_rescued(self.rescuer.rescue_dead())
            rows = self.store.workers.list_all()
            frozen = self.watch.frozen([row.name for row in rows], now, self.settings.lease, PACE)
            self._tell_rescued(self.rescuer.rescue_frozen(frozen))
            self._dismiss({row.name for row in rows if row.stop} & set(frozen))
            if self.settings.retention and now >= self.prune_at:
                self._prune()
        except QueuectlError as error:
            worry = str(error)
            if self.store.db.is_replaced():
                self._pass_on("now")
        if worry and worry != self.worry:
            self.events.emit("warning", worker="pool", text=worry)
        self.worry = worry

    def _dismiss(self, names: set[str]) -> None:
        """End those of ours that were asked to stop and cannot hear it: frozen, they hold nothing any more."""
        for worker in self.workers:
            if worker.process is not None and worker.name in names:
                worker.dismissed = True
                worker.process.kill()

    def _prune(self) -> None:
        """Remove some of what is older than ``retention``; soon again while there is more."""
        removed, tokens = self.store.jobs.prune(self.settings.retention * 86_400, time.time(), limit=PRUNED_A_LOOK)
        self.prune_at = time.monotonic() + (PRUNE_PACE if removed < PRUNED_A_LOOK else 0.0)
        for token in tokens:
            self.store.spool.remove(token)

    def _tell_rescued(self, rescued: list[Rescued]) -> None:
        for job_id, was in rescued:
            teller = self.workers[0].name if self.workers else "pool"
            self.events.emit("rescued", worker=teller, job=job_id, was=was)
