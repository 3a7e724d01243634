"""Start the process of a supervisor, with as many workers as the limit of open files allows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import subprocess
from typing import TYPE_CHECKING

from queuectl_nb.engine.dask.cluster import SECURITY_VARIABLE
from queuectl_nb.engine.worker_process import command_line
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.engine.config import WorkerConfig

__all__ = ["RESERVED_FILES", "count_fitting", "limit_text", "start_supervisor"]

PIPE_SIZE_BYTES = 1024 * 1024
RESERVED_FILES = 40
"""Open files that a supervisor needs besides those for its workers, and more than a worker needs.

Counted in ``/proc/PID/fd`` with 1, 4 and 12 workers: a supervisor has 14, and 3 more while it starts a worker; a worker
has 21, and up to 26 for moments. The rest is for rescues, which open the files of a lost worker.
"""
FILES_PER_WORKER = 2
"""The lock file and the control pipe."""


def count_fitting(count: int) -> int:
    """Return how many of ``count`` workers the limit of open files allows; raise BadEnvironment if it allows none."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return count
    if limit < RESERVED_FILES + FILES_PER_WORKER:
        needed = RESERVED_FILES + FILES_PER_WORKER
        raise BadEnvironment(f"too few open files: {limit_text()}; it must be {needed} or more")
    return min(count, (limit - RESERVED_FILES) // FILES_PER_WORKER)


def limit_text() -> str:
    """Return the limit of open files for a message."""
    return f"'ulimit -n' is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"


def start_supervisor(config: WorkerConfig, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a supervisor with stderr to ``log``; return its process and the pipe from which to read its events."""
    environ = dict(os.environ)
    if config.dask is not None:
        environ[SECURITY_VARIABLE] = config.dask.security or ""
    errors = open_regular(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    read, write = os.pipe()
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE_BYTES)
    try:
        process = subprocess.Popen(
            command_line("supervisor", config),
            stdin=subprocess.DEVNULL if config.detach else subprocess.PIPE,
            stdout=write,
            stderr=errors,
            cwd=config.db.parent,
            env=environ,
            start_new_session=True,
            bufsize=0,
        )
    except BaseException as error:
        os.close(read)
        if isinstance(error, BlockingIOError):
            msg = "cannot start another process; raise 'ulimit -u' or the limit of the container (pids.max)"
            raise BadEnvironment(msg) from error
        raise
    finally:
        os.close(write)
        os.close(errors)
    return process, read
