"""Forks the processes of Python jobs from a warm parent: ``python -m queuectl_nb.child.fork_server FD``.

A worker starts it and sends messages through the socket FD, one job at a time. The fork server has imported what such
jobs use, so a job starts within milliseconds. It answers with the pid and, when that process has ended, with its exit
status and resource usage. It is not a subreaper: orphans of a job become children of the worker, as do those of a
command, and so does the job itself if the fork server dies. It never imports the user's modules.

After a fork, a page of memory is copied when either process writes to it, and with reference counts even reading an
object is a write. These copies are most of the cost of a short call, so the code from the fork to the user's function
uses few objects: builtins rather than functions of the standard library.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import importlib
import marshal
import os
import pickle
import signal
import socket
import struct
import sys
import warnings
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any, NoReturn

from queuectl_nb.child import process
from queuectl_nb.child.channel import EXIT, HANDLES, HEADER, IMPORT, PID, RUN, RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["IDLE_S", "main"]

IDLE_S = 60
"""Seconds without a message after which a fork server ends."""
REHEARSALS = 10
FORK_SAFE = frozenset({"logging", "random", "threading"})
"""Modules whose handlers of forks do nothing that a fork by the only thread needs."""
GPU_DEVICES = ("/dev/nvidia", "/dev/kfd")
"""What a process has open that has initialized CUDA or ROCm, which do not work after a fork."""


def main(handle: int) -> None:
    """Serve requests until the worker closes the socket, or sends nothing for a while."""
    worker = os.getppid()
    os.chdir("/")  # out of the directory of the first job: one in use cannot be unmounted
    os.set_inheritable(handle, False)
    channel = socket.socket(fileno=handle)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", IDLE_S, 0))
    for module in ("linecache", "queuectl_nb.child.function"):  # once, before the forks
        importlib.import_module(module)
    error: str | None = None
    names: list[bytes] = []
    can_fork = True
    own_path = sys.path[:]
    # Python 3.12 and later: about forks beside threads of libraries, which are idle
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=__name__)
    gc.disable()
    gc.freeze()  # so that collections in jobs do not copy the pages of these objects
    try:
        while (message := _receive(channel)) is not None:
            kind, body, handles = message
            if kind == IMPORT:
                path, sys.path[:] = sys.path[:], own_path
                _preload(marshal.loads(body))
                sys.path[:] = path
                can_fork = not _uses_gpu()  # and no thread of a module would be lost, see below
            elif kind == RUNTIME:
                runtime, names = marshal.loads(body)
                error = process.prepare(runtime)
                for name in names:
                    os.putenv(name, b"")  # jobs replace it, which copies less than adding it
                _rehearse()
            elif kind == RUN and can_fork and not _thread._count():  # noqa: SLF001 - without loading threading
                begin, start = os.pipe()
                pid = os.fork()
                if not pid:
                    os.close(handle)
                    os.close(start)
                    _run(begin, body, handles, names, error)
                os.close(begin)
                channel.send(PID.pack(pid))
                os.write(start, b"1")
                os.close(start)
                # a job that kills this process stays, to be reaped by the worker: the signal comes before wait4()
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                _, status, usage = os.wait4(pid, 0)
                for each in handles:  # open until here: a rescuer finds by them what the job has started
                    os.close(each)
                channel.send(EXIT.pack(status, usage.ru_utime, usage.ru_stime, usage.ru_maxrss))
                os.kill(worker, signal.SIGCHLD)  # as if it were a child of the worker
            else:
                channel.send(PID.pack(0))
    except (BlockingIOError, ConnectionError, ProcessLookupError):
        pass  # idle, or the worker has died


def _receive(channel: socket.socket) -> tuple[int, bytes, Sequence[int]] | None:
    """Return kind and body of a message, and the descriptors that came with it; None at the end."""
    header, passed, _, _ = channel.recvmsg(HEADER.size, socket.CMSG_SPACE(HANDLES.size))
    if len(header) < HEADER.size:
        return None
    kind, size = HEADER.unpack(header)
    body = channel.recv(size)
    while len(body) < size:
        part = channel.recv(size - len(body))
        if not part:
            return None
        body += part
    return kind, body, HANDLES.unpack(passed[0][2]) if passed else ()


# ---------------------------------------------------------------------- preload

_handlers: list[dict[str, Callable[[], object]]] = []
"""The handlers of :data:`FORK_SAFE`, which do not run when this process forks."""
_register_at_fork = os.register_at_fork


def _preload(modules: Sequence[str]) -> None:
    """Import modules that jobs will use; one that cannot be imported is left to the job."""
    os.register_at_fork = _defer_handlers  # type: ignore[assignment]
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    os.register_at_fork = _register_at_fork
    if logging := sys.modules.get("logging"):  # whose own handlers flush each record, and not only at the exit
        known = logging._handlerList  # noqa: SLF001 - logging.shutdown() would copy pages in each job
        known[:] = [each for each in known if type(each()).__module__ != "logging"]
    gc.collect()
    gc.freeze()


def _defer_handlers(**handlers: Callable[[], object]) -> None:
    """Replace ``os.register_at_fork`` during a preload.

    The handlers of :data:`FORK_SAFE` reset locks that other threads may hold. There are none here, and the handlers
    would copy 150 pages. Jobs register them, for their own forks.
    """
    if getattr(handlers.get("after_in_child"), "__module__", None) in FORK_SAFE:
        _handlers.append(handlers)
    else:
        _register_at_fork(**handlers)


def _uses_gpu() -> bool:
    """Return True if a module has initialized a GPU."""
    for handle in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{handle}").startswith(GPU_DEVICES):
                return True
    return False


def _rehearse() -> None:
    """Run a few calls in this process: that fills caches of the interpreter, which jobs then need not copy."""

    def function(value: object) -> object:
        return value

    argv = sys.argv
    pickler = sys.modules.get("cloudpickle")
    function.__module__ = "__main__"  # pickled by value
    request = {
        "kind": "function",
        "name": "",
        "function": {"sha256": "function"},
        "blobs": {"function": pickle.dumps(abs) if pickler is None else pickler.dumps(function)},
        "calls": [[[b2a_base64(pickle.dumps(1)).decode()], {}]],
        "chunk": False,
        "done": [],
        "jobs": {},
        "reply": os.devnull,
        "blob_dir": "",
    }
    for _ in range(REHEARSALS):
        process.run(request, None)
    sys.argv = argv
    gc.collect()
    gc.freeze()


# ---------------------------------------------------------------------- the job


def _run(begin: int, body: bytes, handles: Sequence[int], names: list[bytes], error: str | None) -> NoReturn:
    """Become the process of a job.

    It begins when something is written to the pipe ``begin``, once the worker knows the pid. If the pipe is closed
    before, because the fork server was killed, the process ends without having run anything.
    """
    code = 1
    try:
        if not os.read(begin, 1):
            os._exit(1)
        os.close(begin)
        os.setsid()
        os.dup2(handles[0], 1)
        os.dup2(handles[1], 2)
        os.close(handles[0])
        os.close(handles[1])
        request: dict[str, Any] = marshal.loads(body)
        environ = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001 - os.environ encodes each item
        for name, value in zip(names, request["variables"], strict=True):
            environ[name] = value
            os.putenv(name, value)
        os.chdir(request["cwd"])
        for each in _handlers:
            _register_at_fork(**each)
        if "threading" in sys.modules:
            sys.modules["threading"]._main_thread._native_id = _thread.get_native_id()  # noqa: SLF001
        gc.enable()
        code = process.run(request, error)
    except BaseException:  # noqa: BLE001 - nothing may return into the fork server
        sys.excepthook(*sys.exc_info())
    finally:
        process.exit_process(code)


if __name__ == "__main__":
    from queuectl_nb.child import fork_server  # noqa: PLW0406 - __main__ is replaced in jobs

    fork_server.main(int(sys.argv[1]))
