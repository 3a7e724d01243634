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
import sys
import time
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine import process_tree
from queuectl_nb.engine.executor import CannotStart, ForkServerFailed, LeaseLost, NoResources
from queuectl_nb.engine.local_run import LocalRun
from queuectl_nb.engine.python.request import command_line, write_request
from queuectl_nb.engine.resource_limits import ResourceLimits
from queuectl_nb.model.call import Kind
from queuectl_nb.model.job_environment import base_environment
from queuectl_nb.store.artifact_folder import ArtifactFolder
from queuectl_nb.store.blobs import blob_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from queuectl_nb.engine.python.fork_servers import ForkServer, ForkServers
    from queuectl_nb.engine.worker_record import RecordWriter
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.regular_file import Descriptor
    from queuectl_nb.store.spool import Spool, WorkerFiles

__all__ = ["LocalExecutor"]

_NO_PROGRAM = frozenset({errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR})
_TEMPORARY_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
_IGNORED_BY_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Signals that Python ignores; jobs would inherit that, so they are always reset."""


class LocalExecutor:
    """Starts commands as child processes, one at a time."""

    def __init__(
        self,
        spool: Spool,
        files: WorkerFiles,
        record: RecordWriter | None,
        lock_out_rescuers: Callable[[], Descriptor | None] = lambda: None,
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
        self._dev_null = os.open(os.devnull, os.O_RDONLY)
        # what nohup ignores stays ignored; glibc resets the others anyway, but twice as fast if they are named
        ignored = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
        self._default_signals = tuple(signal.valid_signals() - ignored | _IGNORED_BY_PYTHON)
        self._environ = {**base_environment(environ), "QUEUECTL_DB": str(db)}
        self._encoded_cache: tuple[Mapping[str, str], Mapping[str, str], dict[bytes, bytes]] = ({}, {}, {})
        self._files = os.fsencode(spool.folder) + b"/%b."
        """Start of the paths of an attempt's files."""
        self.artifacts = ArtifactFolder(spool.folder, files.name)
        self._artifact_path = os.fsencode(self.artifacts.path)
        self._server_pids: set[int] = set()
        self._limits = ResourceLimits()

    @cached_property
    def fork_servers(self) -> ForkServers:
        """Processes that fork those of Python jobs; not loaded by a worker that runs commands only."""
        from queuectl_nb.engine.python.fork_servers import ForkServers

        return ForkServers(self._server_pids)

    def _shared_environment(self, lease: Lease) -> dict[bytes, bytes]:
        """Merge the worker's environment, the recorded one and ``--env``, as bytes for ``posix_spawn``.

        The jobs of one notebook share it, so the last one is cached.
        """
        kept, own, shared = self._encoded_cache
        if kept is not lease.recorded_env or own is not lease.env:
            kept, own = lease.recorded_env, lease.env
            merged = {**self._environ, **kept, **own}
            shared = {os.fsencode(key): os.fsencode(value) for key, value in merged.items()}
            self._encoded_cache = kept, own, shared
        return shared

    def attempt_variables(self, lease: Lease, max_retries: int) -> dict[bytes, bytes]:
        """Return the variables that each attempt has for itself."""
        token = lease.token.encode()
        files = self._files % token
        return {
            b"QUEUECTL_JOB_ID": lease.job_id.encode(),
            b"QUEUECTL_ATTEMPT": b"%d" % lease.number,
            b"QUEUECTL_ATTEMPT_TOKEN": token,
            b"QUEUECTL_MAX_RETRIES": b"%d" % (lease.max_retries or max_retries),
            b"QUEUECTL_RESULT": files + b"result",
            b"QUEUECTL_METRICS": files + b"metrics",
            b"QUEUECTL_ARTIFACTS": self._artifact_path,
        }

    def close(self) -> None:
        """Remove the artifact folder, when no attempt follows."""
        self.artifacts.close()

    def restore_limits(self) -> bool:
        """Undo what jobs have done to the resource limits of this process; return False if that is impossible.

        Fork servers whose limits were changed are ended.
        """
        for pid in self._server_pids:
            if not self._limits.are_those_of(pid):
                os.kill(pid, signal.SIGKILL)  # our own child, which was not reaped
        return self._limits.restore()

    def _open_files(self) -> tuple[int, int]:
        """Open the worker's files; replace them if something other than a rescuer holds a lock.

        That is a process outside of an earlier job's tree, which the job has given its output to. Raises
        :class:`NoResources`.
        """
        try:
            try:
                return self.files.open()
            except BlockingIOError:
                rescue_lock = self._lock_out_rescuers()
                if rescue_lock is None:
                    raise
                with rescue_lock:
                    self.files.remove()
                    return self.files.open()
        except BlockingIOError as error:
            msg = "a rescuer holds the output files of this worker"
            raise NoResources(msg) from error
        except OSError as error:
            raise NoResources(str(error)) from error

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
        out, err = self._open_files()
        started_at, started = time.time(), time.monotonic()
        try:
            if not owned():
                raise LeaseLost
            _change_directory(lease.cwd)
            if self._record is not None:
                self._record.begin(lease.token)
            self.artifacts.prepare()
            pid, server = self._start_process(lease, settings, (out, err))
            if self._record is not None:
                self._record.started(pid)
        except OSError as error:
            if error.errno in _TEMPORARY_ERRORS:
                raise NoResources(str(error)) from error
            msg = error.strerror or str(error)
            if lease.call is not None:
                msg = f"interpreter {lease.call['runtime']['executable']}: {msg}"
                raise CannotStart(msg, final=error.errno in _NO_PROGRAM) from error
            if error.errno in _NO_PROGRAM:
                msg = f"shell {lease.shell or settings.shell}: {msg}"
            raise CannotStart(msg) from error
        finally:
            os.close(out)
            os.close(err)
            os.chdir("/")
        return LocalRun(
            lease,
            self.files,
            pid,
            started_at,
            started,
            self._record,
            self._owns_children,
            server=server,
            server_pids=self._server_pids,
        )

    def _start_process(
        self, lease: Lease, settings: Settings, output: tuple[int, int]
    ) -> tuple[int, ForkServer | None]:
        """Start the process of a job; return its pid, and its fork server if it has one."""
        shared, own = self._shared_environment(lease), self.attempt_variables(lease, settings.max_retries)
        if lease.call is not None:
            return self._start_call(lease, lease.call, (shared, own), output, settings)
        program, arguments = _split_shell(lease.shell or settings.shell)
        path = program if "/" in program else _find_shell(program, shared.get(b"PATH"))
        arguments = [*arguments, lease.command]
        return self._spawn(path, arguments, {**shared, **own}, [self._dev_null, *output]), None

    def _spawn(
        self, path: str, arguments: list[str], environment: Mapping[bytes, bytes], handles: Sequence[int]
    ) -> int:
        """Start a program in a session of its own, with ``handles`` as its descriptors 0, 1, 2 …; return its pid."""
        return os.posix_spawn(
            path,
            arguments,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, handle, number) for number, handle in enumerate(handles)],
            setsid=True,
            setsigmask=(),
            setsigdef=self._default_signals,
        )

    def _start_call(
        self,
        lease: Lease,
        call: Mapping[str, Any],
        environments: tuple[dict[bytes, bytes], dict[bytes, bytes]],
        output: tuple[int, int],
        settings: Settings,
    ) -> tuple[int, ForkServer | None]:
        """Start the process of a Python job: by a fork server, or where this process could not adopt it, by itself."""
        shared, own = environments
        self.files.clear_reply()
        request = {
            **call,
            "reply": self.files.reply,
            "blob_dir": blob_dir(self.spool.folder),
        }
        if lease.kind == Kind.CELL:
            displays = f"{self.spool.path(lease.token, 'displays')}"
            request |= {"displays": displays, "display_limit": settings.display_limit}
        if self._owns_children and sys.platform.startswith("linux"):
            request |= {"variables": own, "cwd": lease.cwd}
            try:
                if started := self.fork_servers.start(request, shared, output, settings.preload):
                    return started
            except ForkServerFailed:  # it may have forked the job
                process_tree.kill_descendants()
        with write_request(request, self.spool) as handle:
            path, *arguments = command_line(call, 3)
            return self._spawn(path, arguments, {**shared, **own}, [self._dev_null, *output, handle]), None


@lru_cache
def _split_shell(shell: str) -> tuple[str, list[str]]:
    """Return the program of a shell, and the arguments before the command."""
    program, *options = shlex.split(shell)
    return program, [os.path.basename(program), *options, "-c"]


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
        msg = f"working directory {path}: {error.strerror}"
        raise CannotStart(msg) from error
