"""Runs commands on this machine: ``/bin/sh -c`` in a session of its own, output straight into spool files.

The worker runs one command at a time and is a subreaper: whatever a command leaves behind becomes a child of the
worker. "No children at all" is therefore the proof, one system call long, that nothing of it is left.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import process_tree
from queuectl_nb.engine.executor import CannotStart, Exit, LeaseLost, NoRoom
from queuectl_nb.model.attempt import Usage
from queuectl_nb.model.outcome import Outcome, Signalled, exited

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import psutil

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.store.spool import Slot, Spool

__all__ = ["LocalExecutor", "LocalRun"]

SHELL = "/bin/sh"
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
# Python ignores these two, and an ignored signal stays ignored in what is started
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


class LocalExecutor:
    """Starts commands as children of this process, one at a time."""

    def __init__(
        self,
        spool: Spool,
        slot: Slot,
        mark: Callable[[str], None],
        *,
        db: Path,
        environ: Mapping[str, str],
    ) -> None:
        """Start commands in the worker's ``slot``.

        Parameters
        ----------
        mark
            Called with an attempt's token right before it is started; must outlive this process.
        environ
            What lies below the environment that was recorded with a job.
        """
        self.spool = spool
        self.slot = slot
        self.mark = mark
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._environ = {"PYTHONUNBUFFERED": "1", **environ, "QUEUECTL_DB": str(db)}
        self._shared: tuple[Mapping[str, str], Mapping[str, str], dict[bytes, bytes]] = ({}, {}, {})
        self._results = os.fsencode(spool.folder) + b"/%b.result"

    def environment(self, lease: Lease, max_retries: int) -> dict[bytes, bytes]:
        """Return what the command sees: the worker's, the recorded part, ``--env``, and the job's own facts.

        As bytes, which is what the system takes: the part that jobs of one notebook share is encoded once.
        """
        kept, own, shared = self._shared
        if kept is not lease.recorded_env or own is not lease.env:
            kept, own = lease.recorded_env, lease.env
            merged = {**self._environ, **kept, **own}
            shared = {os.fsencode(key): os.fsencode(value) for key, value in merged.items()}
            self._shared = kept, own, shared
        token = lease.token.encode()
        return {
            **shared,
            b"QUEUECTL_JOB_ID": lease.job_id.encode(),
            b"QUEUECTL_ATTEMPT": b"%d" % lease.number,
            b"QUEUECTL_ATTEMPT_TOKEN": token,
            b"QUEUECTL_MAX_RETRIES": b"%d" % (lease.max_retries or max_retries),
            b"QUEUECTL_RESULT": self._results % token,
        }

    def start(self, lease: Lease, max_retries: int, ours: Callable[[], bool]) -> LocalRun:
        """Start the command; see :class:`~queuectl_nb.engine.executor.Executor`.

        ``posix_spawn`` and not Popen: it starts as fast as C does, from a large process too. It knows no working
        directory, so the worker, which needs none of its own, goes there first.
        """
        try:
            os.chdir(lease.cwd)
        except OSError as error:
            msg = f"working directory {lease.cwd}: {error.strerror}"
            raise CannotStart(msg) from error
        try:
            out, err = self.slot.open()
        except BlockingIOError:
            raise LeaseLost from None
        except OSError as error:
            raise NoRoom(str(error)) from error
        started_at, started = time.time(), time.monotonic()
        try:
            if not ours():
                raise LeaseLost
            self.mark(lease.token)
            pid = os.posix_spawn(
                SHELL,
                ["sh", "-c", lease.command],
                self.environment(lease, max_retries),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._nothing, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, err, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise NoRoom(str(error)) from error
            msg = error.strerror or str(error)
            raise CannotStart(msg) from error
        finally:
            os.close(out)
            os.close(err)
        return LocalRun(lease, self.slot, pid, started_at, started)


class LocalRun:
    """A command that runs as a child of this process."""

    def __init__(self, lease: Lease, slot: Slot, pid: int, started_at: float, started: float) -> None:
        """Watch the child ``pid``."""
        self.lease = lease
        self.slot = slot
        self.has_own_files = False
        self.pid: int | None = pid
        self.started_at = started_at
        self.started = started
        self._exit: Exit | None = None
        self._alone = False

    def clear(self) -> None:
        """Empty the slot for the next attempt."""
        self.slot.clear()

    def poll(self) -> Exit | None:
        """Reap what ended, adopted orphans included; return how the command ended, once it has."""
        self._alone = not _reap(self)
        return self._exit

    def leftovers(self) -> bool:
        """Tell whether a child is left; call it after the command's end."""
        if not self._alone and _reap(self):  # who has no child cannot get one again
            return True
        return not _ADOPTS and bool(self._tree())

    def took(self, status: int, usage: Usage) -> None:
        """Note how the command ended."""
        code = os.waitstatus_to_exitcode(status)
        outcome: Outcome = exited(code) if code >= 0 else Signalled(-code)
        self._exit = Exit(outcome, usage)

    def _tree(self) -> list[psutil.Process]:
        """Find all of it: everything below this process, or, where orphans are not adopted (macOS), by its marks."""
        if _ADOPTS:
            return process_tree.descendants(os.getpid())
        return process_tree.holders([self.lease.token], self.paths.values())

    @property
    def paths(self) -> Mapping[str, str]:
        """Where its streams lie now."""
        if not self.has_own_files:
            return self.slot.paths
        return {stream: f"{self.slot.folder}/{self.lease.token}.{stream}" for stream in self.slot.paths}

    def move_to_own_files(self) -> None:
        """Give it files of its own, now that it lives for longer or printed much."""
        if not self.has_own_files:
            self.slot.rename(self.lease.token)
            self.has_own_files = True

    def terminate(self) -> None:
        """Send TERM to everything that the command started."""
        process_tree.send(self._tree(), signal.SIGTERM)

    def kill(self) -> None:
        """Kill everything that the command started."""
        process_tree.kill_tree(self._tree)


_ADOPTS = sys.platform.startswith("linux")


def _reap(run: LocalRun) -> bool:
    """Reap ended children, the command's own into ``run``; tell whether living ones are left."""
    while True:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)  # nothing else in a worker waits for children
        except ChildProcessError:
            return False
        if not pid:
            return True
        if pid == run.pid:
            # the kernel counts microseconds; as sums of floats they have tails such as 0.0009029999999999999
            user, system = round(used.ru_utime, 6), round(used.ru_stime, 6)
            run.took(status, Usage(user, system, used.ru_maxrss * _RSS_UNIT))
