"""Start the process of a supervisor."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from typing import TYPE_CHECKING

from queuectl_nb.engine.dask.cluster import SECURITY_VARIABLE
from queuectl_nb.engine.worker_process import command_line
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.engine.config import WorkerConfig

__all__ = ["start_supervisor"]

PIPE_SIZE_BYTES = 1024 * 1024


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
