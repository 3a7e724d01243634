"""One command that runs on this host as a child process: its exit, leftovers, usage and output files."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat, process_tree
from queuectl_nb.model.attempt import Usage
from queuectl_nb.model.outcome import Outcome, Signalled, exited

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psutil

    from queuectl_nb.engine.worker_record import RecordWriter
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.store.spool import WorkerFiles

__all__ = ["LocalRun"]

_LINUX = sys.platform.startswith("linux")
_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(eq=False)
class LocalRun:
    """A command that runs as a child process."""

    lease: Lease
    files: WorkerFiles
    pid: int
    started_at: float
    """When it was started, in epoch seconds."""
    started: float
    """The same on the monotonic clock."""
    record: RecordWriter | None
    """Says whether a rescuer has killed it."""
    owns_children: bool
    """Whether this process has no other children, and adopts orphans if it can."""
    has_own_files: bool = False
    """Whether its output files are named after its token, instead of being those of the worker."""
    usage: Usage = field(default_factory=Usage)
    """Resource usage, once the shell has exited."""
    _outcome: Outcome | None = None
    _childless: bool = False

    @property
    def _adopts_orphans(self) -> bool:
        return self.owns_children and _LINUX

    def clear_files(self) -> None:
        """Truncate the worker's files."""
        self.files.clear()

    def poll(self) -> Outcome | None:
        """Reap exited children, adopted orphans included; return how the shell exited, or None while it runs."""
        self._childless = not self._reap()
        return self._outcome

    def has_leftovers(self) -> bool:
        """Return True if processes of the command are left; only valid after its exit."""
        if not self._childless and self._reap():  # without children there can be no new ones
            return True
        return not self._adopts_orphans and bool(self._processes())

    def _reap(self) -> bool:
        """Reap exited children and record the exit of the shell; return True if live children are left."""
        while True:
            try:
                pid, status, used = os.wait4(-1 if self.owns_children else self.pid, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid == self.pid:
                # the kernel counts microseconds; float sums give values such as 0.0009029999999999999
                user, system = round(used.ru_utime, 6), round(used.ru_stime, 6)
                self.usage = Usage(user, system, used.ru_maxrss * _RSS_UNIT_BYTES)
                code = os.waitstatus_to_exitcode(status)
                self._outcome = exited(code) if code >= 0 else Signalled(-code)
                if self.record is not None:
                    killed = self.record.outcome_if_killed(self.lease.token, self.started)
                    self._outcome = killed or self._outcome

    def _processes(self) -> list[psutil.Process]:
        """Find all its processes: our descendants, or, without adopted orphans, by token, open files and session."""
        if self._adopts_orphans:
            return process_tree.descendants(os.getpid())
        began_ns = heartbeat.boot_clock_ns() - int((time.monotonic() - self.started) * 1e9)
        session = process_tree.Session(self.pid, began_ns, heartbeat.boot_clock_ns())
        return process_tree.holders([self.lease.token], self.paths.values(), session)

    @property
    def paths(self) -> Mapping[str, str]:
        """Current paths of its output streams."""
        if not self.has_own_files:
            return self.files.paths
        return {stream: f"{self.files.folder}/{self.lease.token}.{stream}" for stream in self.files.paths}

    def move_to_own_files(self) -> None:
        """Rename the worker's files after the token of the attempt."""
        if not self.has_own_files:
            self.files.rename(self.lease.token)
            self.has_own_files = True

    def terminate(self) -> None:
        """Send SIGTERM to all processes of the command."""
        process_tree.send_signal(self._processes(), signal.SIGTERM)

    def kill(self) -> None:
        """Kill all processes of the command."""
        process_tree.kill_tree(self._processes)
