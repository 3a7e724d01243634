"""Runs commands on this host: ``SHELL -c`` in a session of its own, with output going straight into spool files.

The worker runs one command at a time and is a subreaper: orphaned processes of a command become its children. Having no
children proves, with a single system call, that nothing of the command is left.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from queuectl_nb.engine.executor import CannotStart, LeaseLost, NoResources
from queuectl_nb.engine.local_run import LocalRun
from queuectl_nb.model.job_environment import base_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from queuectl_nb.engine.worker_record import RecordWriter
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.spool import Spool, WorkerFiles

__all__ = ["LocalExecutor"]

_NO_PROGRAM = frozenset({errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR})
_TEMPORARY_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
# Python ignores these, and children would inherit that
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


class LocalExecutor:
    """Starts commands as child processes, one at a time."""

    def __init__(  # noqa: PLR0913 - what the worker shares with it
        self,
        spool: Spool,
        files: WorkerFiles,
        record: RecordWriter | None,
        lock_out_rescuers: Callable[[], int | None] = lambda: None,
        *,
        db: Path,
        environ: Mapping[str, str],
        owns_children: bool = True,
    ) -> None:
        """Start commands in the ``files`` of a worker.

        Parameters
        ----------
        record
            Keeps token and pid of the last attempt for the rescuer of this process; None if there is no such rescuer.
        lock_out_rescuers
            Returns a descriptor that keeps rescuers from settling for this worker until it is closed, or None.
        environ
            Environment of the worker: jobs get :func:`base_environment` of it, overridden by what is recorded.
        owns_children
            Whether this process has no other children, and adopts orphans if it can.
        """
        self.spool = spool
        self.files = files
        self._record = record
        self._lock_out_rescuers = lock_out_rescuers
        self._owns_children = owns_children
        self._dev_null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._environ = {**base_environment(environ), "QUEUECTL_DB": str(db)}
        self._encoded_cache: tuple[Mapping[str, str], Mapping[str, str], dict[bytes, bytes]] = ({}, {}, {})
        self._results = os.fsencode(spool.folder) + b"/%b.result"

    def _make_environment(self, lease: Lease, max_retries: int) -> dict[bytes, bytes]:
        """Merge the worker's environment, the recorded one, ``--env`` and the variables of the attempt.

        As bytes, for ``posix_spawn``. The part that jobs of one notebook share is encoded once and cached.
        """
        kept, own, shared = self._encoded_cache
        if kept is not lease.recorded_env or own is not lease.env:
            kept, own = lease.recorded_env, lease.env
            merged = {**self._environ, **kept, **own}
            shared = {os.fsencode(key): os.fsencode(value) for key, value in merged.items()}
            self._encoded_cache = kept, own, shared
        token = lease.token.encode()
        return {
            **shared,
            b"QUEUECTL_JOB_ID": lease.job_id.encode(),
            b"QUEUECTL_ATTEMPT": b"%d" % lease.number,
            b"QUEUECTL_ATTEMPT_TOKEN": token,
            b"QUEUECTL_MAX_RETRIES": b"%d" % (lease.max_retries or max_retries),
            b"QUEUECTL_RESULT": self._results % token,
        }

    def _open_files(self) -> tuple[int, int]:
        """Open the worker's files; replace them if something other than a rescuer holds a lock.

        That is a process outside of an earlier job's tree, which the job has given its output to.
        """
        try:
            return self.files.open()
        except BlockingIOError:
            rescue_lock = self._lock_out_rescuers()
            if rescue_lock is None:
                raise
            try:
                self.files.remove()
                return self.files.open()
            finally:
                os.close(rescue_lock)

    def start(self, lease: Lease, settings: Settings, owned: Callable[[], bool]) -> LocalRun:
        """Start the command with its output going to the spool.

        ``settings`` have the shell and ``max_retries`` of jobs without their own. ``owned`` is called once the output
        files are locked, when no rescuer can settle the attempt any more; False means that one already has.

        ``posix_spawn`` is as fast as in C, also from a large process, unlike Popen. It has no option for the working
        directory, so the worker changes its own, and leaves it again: a directory in use cannot be unmounted.

        Raises
        ------
        CannotStart, NoResources, LeaseLost
            Nothing was started.
        """
        try:
            out, err = self._open_files()
        except BlockingIOError as error:
            raise NoResources("a rescuer holds the output files of this worker") from error
        except OSError as error:
            raise NoResources(str(error)) from error
        started_at, started = time.time(), time.monotonic()
        try:
            if not owned():
                raise LeaseLost
            _change_directory(lease.cwd)
            if self._record is not None:
                self._record.begin(lease.token)
            environment = self._make_environment(lease, settings.max_retries)
            program, *options = _split_shell(lease.shell or settings.shell)
            pid = os.posix_spawn(
                program if "/" in program else _find_shell(program, environment.get(b"PATH")),
                [os.path.basename(program), *options, "-c", lease.command],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._dev_null, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, err, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
            if self._record is not None:
                self._record.started(pid)
        except OSError as error:
            if error.errno in _TEMPORARY_ERRORS:
                raise NoResources(str(error)) from error
            msg = error.strerror or str(error)
            if error.errno in _NO_PROGRAM:
                msg = f"shell {lease.shell or settings.shell}: {msg}"
            raise CannotStart(msg) from error
        finally:
            os.close(out)
            os.close(err)
            os.chdir("/")
        return LocalRun(lease, self.files, pid, started_at, started, self._record, self._owns_children)


@lru_cache
def _split_shell(shell: str) -> list[str]:
    """Return program and options of a shell."""
    return shlex.split(shell)


@lru_cache
def _find_shell(program: str, path: bytes | None) -> str:
    """Return where the ``PATH`` of a job finds its shell; raise FileNotFoundError if it does not."""
    found = shutil.which(program, path=None if path is None else os.fsdecode(path))
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "not found in PATH")
    return found


def _change_directory(path: str) -> None:
    """Change the working directory; raise CannotStart if that is impossible."""
    try:
        os.chdir(path)
    except OSError as error:
        raise CannotStart(f"working directory {path}: {error.strerror}") from error
