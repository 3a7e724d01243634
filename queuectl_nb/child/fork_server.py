"""Forks the processes of Python jobs from a warm parent: ``python -m queuectl_nb.child.fork_server FD``.

A worker starts it and sends requests through the socket FD, one at a time. The fork server has imported what such jobs
use, so a job starts within milliseconds. It answers with the pid and, when that process has ended, with its exit status
and resource usage. It is no subreaper: orphans of a job become children of the worker, as those of a command do, and so
does the job itself if the fork server dies. It never imports the user's modules.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import marshal
import os
import signal
import socket
import sys
import warnings
from typing import TYPE_CHECKING, Any

import queuectl_nb.child.function  # noqa: F401 - loaded before a fork
from queuectl_nb.child import process
from queuectl_nb.child.channel import EXIT, PID, SIZE, receive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["IDLE_S", "main"]

IDLE_S = 60.0
"""Seconds without a request after which a fork server ends."""
HANDLES = 2


def main(handle: int) -> None:
    """Serve requests until the worker closes the socket."""
    worker = os.getppid()
    os.set_inheritable(handle, False)
    with socket.socket(fileno=handle) as channel:
        channel.settimeout(IDLE_S)
        with contextlib.suppress(TimeoutError, ConnectionError, ProcessLookupError):
            while (message := _receive_request(channel)) is not None:
                request, handles = message
                if "import" in request:
                    _preload(request["import"])
                else:
                    pid, start = _fork(channel, request, handles)
                    for each in handles:
                        os.close(each)
                    channel.sendall(PID.pack(pid))
                    os.write(start, b"1")
                    os.close(start)
                    _, status, usage = os.wait4(pid, 0)
                    channel.sendall(EXIT.pack(status, usage.ru_utime, usage.ru_stime, usage.ru_maxrss))
                    os.kill(worker, signal.SIGCHLD)  # as if it were a child of the worker


def _receive_request(channel: socket.socket) -> tuple[dict[str, Any], Sequence[int]] | None:
    """Return a request and the descriptors of its output files; None at the end."""
    header, handles, _, _ = socket.recv_fds(channel, SIZE.size, HANDLES)
    if len(header) < SIZE.size:
        return None
    body = receive(channel, SIZE.unpack(header)[0])
    return None if body is None else (marshal.loads(body), handles)  # noqa: S302 - written by the worker


def _preload(modules: Sequence[str]) -> None:
    """Import modules that jobs will use; one that cannot be imported is left to the job."""
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that collections in jobs do not copy the pages of these objects


def _fork(channel: socket.socket, request: Mapping[str, Any], handles: Sequence[int]) -> tuple[int, int]:
    """Fork the process of a job; return its pid, and a pipe.

    The job begins when something is written to the pipe, once the worker knows the pid. If the pipe is closed before,
    because the fork server was killed, the process ends without having run anything.
    """
    begin, start = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads of libraries, which are idle
        pid = os.fork()
    if not pid:
        os.close(start)
        channel.close()
        if not os.read(begin, 1):
            os._exit(1)
        os.close(begin)
        _run(request, handles)
    os.close(begin)
    return pid, start


def _run(request: Mapping[str, Any], handles: Sequence[int]) -> None:
    """Become the process of a job; never returns."""
    code = 1
    try:
        os.setsid()
        for number, handle in enumerate(handles, 1):
            os.dup2(handle, number)
            os.close(handle)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(request["variables"])
        os.chdir(request["cwd"])
        code = process.run(request)
    except BaseException:  # noqa: BLE001 - nothing may return into the fork server
        sys.excepthook(*sys.exc_info())
    finally:
        process.exit_process(code)


if __name__ == "__main__":
    from queuectl_nb.child import fork_server  # noqa: PLW0406 - __main__ is replaced in jobs

    fork_server.main(int(sys.argv[1]))
