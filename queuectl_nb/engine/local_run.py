"""One job that runs on this host: its exit, leftovers, usage and output files."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat, process_tree
from queuectl_nb.engine.executor import ForkServerFailed
from queuectl_nb.model.attempt import Usage
from queuectl_nb.model.outcome import Lost, Outcome, Signalled, exited

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psutil

    from queuectl_nb.engine.python.fork_servers import ForkServer
    from queuectl_nb.engine.worker_record import RecordWriter
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.store.spool import WorkerFiles

__all__ = ["LocalRun"]

_LINUX = sys.platform.startswith("linux")
MAX_CLOCK_DRIFT_S = 1.0
"""Change of the difference of two clocks that is not caused by reading one after the other."""
_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
_NO_USAGE = Usage()


def _clock_offset() -> float:
    """Return the difference of the clock that can be set to the one that cannot."""
    return time.time() - heartbeat.boot_clock()


def _whole_us(seconds: float) -> float:
    """Return whole microseconds, as the kernel counts them: float sums give values such as 0.0009029999999999999."""
    return int(seconds * 1e6 + 0.5) / 1e6


@dataclass(eq=False, slots=True)
class LocalRun:
    """A job whose process is a child of this process, or of its fork server."""

    lease: Lease
    files: WorkerFiles
    pid: int
    started_at: float
    """When it was started, in epoch seconds."""
    started: float
    """When it was started, on the monotonic clock."""
    record: RecordWriter | None
    """Records whether a rescuer has killed it."""
    owns_children: bool
    """Whether this process has no other children but fork servers, and adopts orphans if it can."""
    server: ForkServer | None = None
    """The parent of its process."""
    server_pids: set[int] = field(default_factory=set)
    """Fork servers that are children of this process."""
    has_own_files: bool = False
    """Whether its output files are named after its token, instead of being those of the worker."""
    lost_output: bool = False
    """Whether part of its output was lost because the disk is full."""
    usage: Usage = _NO_USAGE
    """Resource usage, once the shell has exited."""
    _clock_offset_s: float = field(default_factory=_clock_offset)
    _outcome: Outcome | None = None
    _childless: bool = False

    @property
    def _adopts_orphans(self) -> bool:
        return self.owns_children and _LINUX

    def start_time(self) -> float:
        """Return when it was started, in epoch seconds of the clock as it is now: it may have been set meanwhile."""
        change_s = _clock_offset() - self._clock_offset_s
        return self.started_at + change_s if abs(change_s) > MAX_CLOCK_DRIFT_S else self.started_at

    def clear_files(self) -> None:
        """Truncate the worker's files."""
        self.files.clear()

    def poll(self) -> Outcome | None:
        """Reap exited children, adopted orphans included; return how the shell exited, or None while it runs."""
        self._childless = not self._reap()
        if self.server is not None and self._outcome is None:
            self._poll_server(self.server)
        return self._outcome

    def has_leftovers(self) -> bool:
        """Return True if processes of the command are left; only valid after its exit."""
        if not self._childless and self._reap() and not self._only_servers():
            return True  # without children there can be no new ones
        return not self._adopts_orphans and bool(self._processes())

    def _only_servers(self) -> bool:
        """Return True if this process has no children but fork servers."""
        return bool(self.server_pids) and not process_tree.has_children(self.server_pids)

    def _reap(self) -> bool:
        """Reap exited children and record the exit of the job's process; return True if live children are left."""
        while True:
            try:
                pid, status, used = os.wait4(-1 if self.owns_children else self.pid, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if os.WIFSTOPPED(status):
                if pid in self.server_pids:  # by the job, whose end it would not report
                    os.kill(pid, signal.SIGCONT)
                continue
            self.server_pids.discard(pid)
            if pid == self.pid:
                self._on_exit(status, used.ru_utime, used.ru_stime, used.ru_maxrss)

    def _poll_server(self, server: ForkServer) -> None:
        """Record the exit of a process that is a child of the fork server, or has been adopted from it."""
        try:
            if (found := server.read_exit()) is not None:
                self._on_exit(*found)
        except ForkServerFailed:
            # once the fork server is reaped, a process that runs is a child of this one, and is reaped like any other
            gone = server.pid not in self.server_pids and not process_tree.has_children(self.server_pids)
            if gone and self._outcome is None:
                self._outcome = Lost("its fork server", "died")

    def _on_exit(self, status: int, user_cpu_s: float, system_cpu_s: float, max_rss: int) -> None:
        """Record how the process of the job has exited."""
        self.usage = Usage(_whole_us(user_cpu_s), _whole_us(system_cpu_s), max_rss * _RSS_UNIT_BYTES)
        code = os.waitstatus_to_exitcode(status)
        self._outcome = exited(code) if code >= 0 else Signalled(-code)
        if self.record is not None:
            killed = self.record.outcome_if_killed(self.lease.token)
            self._outcome = killed or self._outcome

    def _processes(self) -> list[psutil.Process]:
        """Find all its processes: our descendants, or, without adopted orphans, by token, open files and session."""
        if self._adopts_orphans:
            found = process_tree.descendants(os.getpid())
            return [process for process in found if process.pid not in self.server_pids]
        began_ns = heartbeat.boot_clock_ns() - int((time.monotonic() - self.started) * 1e9)
        session = process_tree.Session(self.pid, began_ns, heartbeat.boot_clock_ns())
        return process_tree.holders([self.lease.token], self.paths.values(), session)

    @property
    def paths(self) -> Mapping[str, str]:
        """Current paths of its output streams."""
        if not self.has_own_files:
            return self.files.paths
        return {stream: f"{self.files.folder}/{self.lease.token}.{stream}" for stream in self.files.paths}

    @property
    def metrics_path(self) -> str:
        """The file that the command may write metrics to."""
        return f"{self.files.folder}/{self.lease.token}.metrics"

    def move_to_own_files(self) -> bool:
        """Rename the worker's files after the token of the attempt; return False if the disk is full."""
        if not self.has_own_files:
            with contextlib.suppress(OSError):
                self.files.rename(self.lease.token)
                self.has_own_files = True
        return self.has_own_files

    def terminate(self) -> None:
        """Send SIGTERM to all processes of the command."""
        process_tree.send_signal(self._processes(), signal.SIGTERM)

    def kill(self) -> None:
        """Kill all processes of the command."""
        process_tree.kill_tree(self._processes)
