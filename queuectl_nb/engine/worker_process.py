"""A worker as its supervisor sees it: name, lock, process and restart backoff."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.control import ORPHAN_GRACE_S, REPLACE_EXIT_CODE
from queuectl_nb.engine.forked_process import ForkedProcess, can_fork
from queuectl_nb.engine.worker_record import read_record
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.outcome import SENDER_ENDED
from queuectl_nb.store.boot_time import read_boot_time
from queuectl_nb.store.os_errors import os_reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

    from queuectl_nb.engine.config import WorkerConfig
    from queuectl_nb.engine.events import Events
    from queuectl_nb.store.store import Store

__all__ = ["KILL_MARGIN_S", "LEAVE_MARGIN_S", "WorkerProcess", "command_line", "reap"]

ENTRY_POINT = os.path.join(os.path.dirname(__file__), "__main__.py")
_COMMAND = (sys.executable, "-I", "-S", ENTRY_POINT)
STABLE_AFTER_S = 10.0
"""Lifetime after which a death counts as the first again."""
KILL_MARGIN_S = 1.5
"""Time beyond the kill grace after which a worker that does not exit is killed."""
LEAVE_MARGIN_S = 2.0
"""Time beyond the kill grace after which attempts that cannot be settled are left to the next supervisor."""
MAX_RESTART_DELAY_S = 30.0
"""Longest delay before a worker that keeps dying is restarted."""


def command_line(role: str, config: WorkerConfig) -> list[str]:
    """Return the command that runs ``role`` in a process of its own."""
    return [*_COMMAND, role, config.to_json()]


class WorkerProcess:
    """One worker of a supervisor, which holds the worker's lock as long as it lives.

    Attributes
    ----------
    process
        The running process, or None.
    restart_at
        Monotonic time before which the worker is not restarted.
    settle_at
        Monotonic time before which settling its attempts is not retried.
    settled
        Whether all attempts of the last process are settled.
    retiring
        Whether it is not restarted once its attempts are settled.
    stop
        How it was asked to stop: ``drain``, ``now``, ``orphaned`` (now, with a short grace) or None.
    kill_at
        Monotonic time at which a process that has to stop now is killed.
    leave_at
        Monotonic time from which attempts that cannot be settled are left in the journal.
    ended
        Whether the supervisor is done with it.
    replaces
        Name of the worker that the next process replaces: the same after a death; empty for none.
    """

    def __init__(self, name: str, lock: int) -> None:
        """Hold ``lock`` for the worker ``name``; :meth:`start` runs it."""
        self.name = name
        self.lock = lock
        self.process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self.restart_at = 0.0
        self.settle_at = 0.0
        self.settled = True
        self.retiring = False
        self.stop: str | None = None
        self.kill_at = math.inf
        self.leave_at = math.inf
        self.ended = False
        self.replaces = ""
        self._started_at = 0.0
        self._deaths = 0

    @classmethod
    def register(cls, store: Store, config: WorkerConfig, count: int = 1) -> list[Self]:
        """Register free names. Their locks are taken before they are visible, and held until the supervisor exits."""
        locks: dict[str, int] = {}

        def take_lock(name: str) -> bool:
            handle = heartbeat.take_lock(store.worker_dir, name)
            if handle is not None:
                locks[name] = handle
            return handle is not None

        try:
            names = store.workers.register(
                take_lock,
                count=count,
                pool=os.getpid(),
                host=heartbeat.host_name(),
                queues=config.queues,
                now=time.time(),
                boot=read_boot_time().boot,
                executor="local" if config.dask is None else "dask",
            )
        except BaseException:
            for handle in locks.values():
                os.close(handle)
            raise
        return [cls(name, locks[name]) for name in names]

    @property
    def due_at(self) -> float:
        """Monotonic time at which the supervisor has to do something for this worker; infinity if nothing is due."""
        if self.process is not None:
            return self.kill_at
        if self.ended:
            return math.inf
        return self.restart_at if self.settled else self.settle_at

    def start(self, store: Store, config: WorkerConfig, events: Events) -> int | None:
        """Start the process, which inherits the lock and the event pipe and reads control words on its stdin.

        It is a fork of this process where that is possible; a dispatcher needs much memory of its own. Return its pid,
        or None if the system has no room for another process, which counts as a death.
        """
        config = config.for_worker(self.name, self.lock, replaces=self.replaces)
        self._started_at = time.monotonic()
        inherited = [handle for handle in (self.lock, config.starter) if handle >= 0]
        try:
            if config.dask is None and can_fork():
                from queuectl_nb.engine.bootstrap import run_worker

                command = [*_COMMAND, "worker", self.name, str(config.db)]
                self.process = ForkedProcess(partial(run_worker, config, store), inherited, command)
            else:
                self.process = subprocess.Popen(
                    command_line("worker", config), stdin=subprocess.PIPE, pass_fds=inherited, bufsize=0
                )
        except OSError as error:
            self._schedule_restart(f"not started: {os_reason(error)}", events)
            return None
        if self.process.stdin is not None:
            os.set_blocking(self.process.stdin.fileno(), False)
        events.emit("worker_started", worker=self.name, pid=self.process.pid)
        return self.process.pid

    def request_stop(self, how: str, grace: float) -> None:
        """Stop by ``drain``, ``now`` or ``orphaned``; the last two kill a job after ``grace`` seconds, and then end.

        After ``orphaned`` the grace is :data:`ORPHAN_GRACE_S` at most.

        This is the only rule for ending: a process that is still there ``KILL_MARGIN_S`` after the grace
        is killed, and what cannot be settled by ``LEAVE_MARGIN_S`` after it stays in the journal.
        """
        if self.stop in (how, "orphaned") or (self.stop == "now" and how == "drain"):
            return
        if how == "orphaned":
            grace = min(grace, ORPHAN_GRACE_S)
        if how != "drain":
            now = time.monotonic()
            self.kill_at = min(self.kill_at, now + grace + KILL_MARGIN_S)
            self.leave_at = min(self.leave_at, now + grace + LEAVE_MARGIN_S)
        self.stop = how
        self.send(how)

    def send(self, word: str) -> None:
        """Send a control word to the process, if it runs."""
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(OSError):  # it has ended, or its pipe is full because it is stopped
                self.process.stdin.write(f"{word}\n".encode())

    def child_in(self, chain: list[int], sender: int, worker_dir: Path) -> int:
        """Return the child of this worker that has sent a signal or has started its sender; 0 if none has.

        ``chain`` are the sender and its ancestors. Of one that has ended, only the first process of a job is known.
        """
        if self.process is not None and self.process.pid in chain[1:]:
            return chain[chain.index(self.process.pid) - 1]
        if chain or not sender:
            return 0
        return sender if read_record(heartbeat.lock_path(worker_dir, self.name)).pid == sender else 0

    def kill_if_due(self, now: float) -> None:
        """Kill a process that did not stop in time."""
        if self.process is not None and now >= self.kill_at:
            self.process.kill()
            self.kill_at = now + KILL_MARGIN_S

    def kill_if_frozen(self, detector: heartbeat.FreezeDetector, lease: float, events: Events) -> None:
        """Kill a frozen process, whose job has been rescued: at once if it has to stop, else to replace it.

        One that resumes within a second lease works on.
        """
        limit = lease * (2 if self.stop is None else 1)
        if self.process is not None and detector.frozen_s(self.name) > limit:
            events.emit("warning", worker=self.name, text=f"killed: it has been frozen for more than {limit:g} seconds")
            self.process.kill()
            detector.forget(self.name)

    def on_exit(self, events: Events, *, gone: bool) -> int:
        """Record the exit of the process, decide whether and when it is restarted, and return its exit code.

        ``gone`` means that the database file has been removed. Otherwise a replacement that could not use the file
        (for example because of a full disk) is retried; the failure of the first process is reported to the starter.
        """
        if self.process is None or self.process.returncode is None:
            raise RuntimeError(f"{self.name} is still running")
        code: int = self.process.returncode
        if code == REPLACE_EXIT_CODE and self.stop is not None:  # it had to stop anyway
            code = 0
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None
        self.settled = False
        self.settle_at = self.restart_at = 0.0
        unusable = code == BadEnvironment.exit_code and (gone or not self._deaths)
        self.retiring = self.stop is not None or code == 0 or unusable
        now = time.monotonic()
        if code == 0:  # also if it was stopped by a signal
            self.leave_at = min(self.leave_at, now + LEAVE_MARGIN_S)
        else:  # it may have been killed late
            self.leave_at = max(self.leave_at, now + LEAVE_MARGIN_S - KILL_MARGIN_S)
        if not self.retiring:
            why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            if code == REPLACE_EXIT_CODE:
                why = SENDER_ENDED.why
            self._schedule_restart(why, events)
        return code

    def inherit_backoff(self, other: WorkerProcess) -> None:
        """Replace ``other``, which is not restarted itself, and continue its restart backoff."""
        self._deaths, self.restart_at, self.replaces = other._deaths, other.restart_at, other.name
        other.retiring = True

    def _schedule_restart(self, why: str, events: Events) -> None:
        """Count a death: restart at once the first time, then with a doubling delay."""
        stable = time.monotonic() - self._started_at > STABLE_AFTER_S
        self._deaths = 1 if stable else self._deaths + 1
        self.replaces = self.replaces or self.name
        delay = 0.0 if self._deaths == 1 else min(MAX_RESTART_DELAY_S, 0.1 * 2 ** (self._deaths - 2))
        self.restart_at = time.monotonic() + delay
        events.emit("worker_died", worker=self.name, why=why, restart_in=delay)


def reap(workers: Iterable[WorkerProcess]) -> None:
    """Reap the exited processes of workers, through their Popen objects, and adopted orphans."""
    processes = {worker.process.pid: worker.process for worker in workers if worker.process is not None}
    if not hasattr(os, "waitid"):  # macOS, where orphans are not adopted
        for process in processes.values():
            if isinstance(process, subprocess.Popen):
                process.poll()
        return
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in processes:
                processes.pop(ended.si_pid).wait()
            else:
                os.waitpid(ended.si_pid, 0)
