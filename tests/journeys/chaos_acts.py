"""What :mod:`tests.journeys.chaos` does to workers while jobs run: one class per act."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, ClassVar

import psutil

from queuectl_nb import QueuectlError
from queuectl_nb.client.workers import list_workers

if TYPE_CHECKING:
    from tests.journeys.chaos import Chaos

__all__ = ["Act", "Container", "Freeze", "Kill", "kill_tree"]


class Act:
    """A disturbance that may be repeated at any time."""

    name: ClassVar[str]

    def __init__(self, chaos: Chaos) -> None:
        self.chaos = chaos
        self.rng = chaos.rng
        self.count = itertools.count(1)

    @classmethod
    def is_possible(cls) -> bool:
        """Return False where the system or user does not allow it."""
        return True

    def perform(self) -> None:
        """Do something disruptive; what takes long may go on in the background."""
        raise NotImplementedError

    def finish(self) -> None:
        """Wait for what was begun."""

    def close(self) -> None:
        """Stop what was begun, after the queue has been emptied."""


def send(pids: list[int], what: signal.Signals) -> None:
    """Send a signal to processes that may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


class Kill(Act):
    """SIGKILL to a worker, a supervisor, or a supervisor with all its workers."""

    name = "kills"

    def perform(self) -> None:
        """Kill at once."""
        pool = self.rng.choice(self.chaos.pools)
        pids = {worker["name"]: worker["pid"] for worker in list_workers(self.chaos.queue.store)}
        workers = [pids[name] for name in pool.names if pids.get(name)]
        what = self.rng.choice(["worker", "worker", "supervisor", "both"])
        self.chaos.performed[f"kills: {what}"] += 1
        send({"worker": workers[:1], "supervisor": [pool.pid], "both": [pool.pid, *workers]}[what], signal.SIGKILL)
        if what != "worker":
            pool.wait(60)


class Freeze(Act):
    """SIGSTOP to workers, or to their supervisor as well, for up to three leases, then SIGCONT."""

    name = "freezes"

    def __init__(self, chaos: Chaos) -> None:
        super().__init__(chaos)
        self._thaw = threading.Timer(0, send, ([], signal.SIGCONT))
        self._thaw.start()

    def perform(self) -> None:
        """Stop the processes of one pool, unless others are stopped.

        A timer continues them, because a frozen worker may hold the write lock that the next act waits for.
        """
        if self._thaw.is_alive():
            return
        pool = self.rng.choice(self.chaos.pools)
        workers = [worker["pid"] for worker in pool.workers if worker["pid"]]
        pids = self.rng.choice([workers[:1], workers, [pool.pid, *workers]])
        self._thaw = threading.Timer(self.rng.uniform(0.5, 6), send, (pids, signal.SIGCONT))
        self._thaw.start()
        send(pids, signal.SIGSTOP)

    def finish(self) -> None:
        """Wait until all processes continue."""
        self._thaw.join()

    close = finish


class Container(Act):
    """Workers in a pid namespace of their own, which are killed with or without their namespace."""

    name = "containers"

    def __init__(self, chaos: Chaos) -> None:
        super().__init__(chaos)
        self._namespaces: list[subprocess.Popen[bytes]] = []

    @classmethod
    def is_possible(cls) -> bool:
        """Return True if this user may create pid namespaces."""
        command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
        return (
            shutil.which("unshare") is not None
            and subprocess.run(command, capture_output=True, check=False).returncode == 0
        )

    def perform(self) -> None:
        """Start a namespace while there are fewer than two, else kill one."""
        self._namespaces = [each for each in self._namespaces if each.poll() is None]
        if len(self._namespaces) < 2:
            self._start()
            return
        inside = psutil.Process(self._namespaces.pop(0).pid).children(recursive=True)
        workers = []
        for each in inside:
            with contextlib.suppress(psutil.Error):
                if "queuectl_nb" in " ".join(each.cmdline()):
                    workers.append(each.pid)
        # the first process of a namespace takes all others with it
        send([inside[0].pid] if inside and self.rng.random() < 0.5 else workers, signal.SIGKILL)

    def _start(self) -> None:
        queuectl = [
            sys.executable,
            "-m",
            "queuectl_nb",
            "worker",
            "start",
            "--count",
            "1",
            "--db",
            str(self.chaos.path),
        ]
        # the namespace, with the jobs in it, survives its workers by two seconds
        inner = ["sh", "-c", '"$@"; sleep 2', "sh", *queuectl]
        self._namespaces.append(
            subprocess.Popen(
                ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *inner],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self.chaos.folder,
            )
        )

    def close(self) -> None:
        """Stop the workers in all namespaces through the queue."""
        if not self._namespaces:
            return
        with contextlib.suppress(QueuectlError):
            self.chaos.queue.stop_workers(now=True, timeout=30)
        for each in self._namespaces:
            try:
                each.wait(60)
            except subprocess.TimeoutExpired:
                self.chaos.report("orphans", "the workers of a namespace do not stop")
                kill_tree(each.pid)


def kill_tree(pid: int) -> None:
    """Kill a process with its descendants."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.Error):
                each.kill()
