"""The fork servers of a worker: warm processes that fork the processes of Python jobs (``child/fork_server.py``)."""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.channel import EXIT, HANDLES, HEADER, IMPORT, PID, PRELOADABLE, RUN, RUNTIME
from queuectl_nb.engine.executor import ForkServerFailed
from queuectl_nb.engine.python.request import MARSHAL_VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["ForkServer", "ForkServers"]

MAX_SERVERS = 3
"""Fork servers of a worker; the one that was not used for longest is replaced."""
START_TIMEOUT_S = 60.0
"""Time for a fork server to import its modules and fork a job."""
_CHANNEL = 3
"""Descriptor of the socket in a server."""

NEVER_PRELOADED = frozenset({"jax", "polars", "tensorflow"})
"""Modules with pools of threads that do not survive a fork: with one of them in the setting, nothing is forked."""
MAX_LEARNED = 100
"""Functions and cells whose imports are remembered."""

Key = tuple[str, frozenset[tuple[bytes, bytes]], frozenset[str]]
"""Interpreter, environment and preloaded packages of a fork server."""


class ForkServer:
    """One fork server: an interpreter in an environment, with some modules imported."""

    def __init__(self, executable: str, environment: Mapping[bytes, bytes]) -> None:
        """Start the process; raises OSError if that is impossible."""
        self.channel, theirs = socket.socketpair()
        try:
            self.pid = os.posix_spawn(
                executable,
                [executable, "-P", "-m", "queuectl_nb.child.fork_server", f"{_CHANNEL}"],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 2, 1),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), _CHANNEL),
                ],
                setpgroup=0,  # not setsid: if it is stopped when the worker dies, the kernel sends SIGHUP and SIGCONT
                setsigmask=(),
                setsigdef=(signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ),
            )
        except OSError:
            self.channel.close()
            raise
        finally:
            theirs.close()
        timeout = struct.pack("ll", int(START_TIMEOUT_S), 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.channel.setsockopt(socket.SOL_SOCKET, option, timeout)
        self._modules: set[str] = set()
        self._runtime: object = None

    def preload(self, modules: Iterable[str]) -> None:
        """Let the fork server import the modules that it was not asked to import before."""
        if new := [name for name in modules if name not in self._modules]:
            self._modules.update(new)
            with contextlib.suppress(OSError):  # noticed at the next start
                self._send(IMPORT, new)

    def start(self, request: Mapping[str, Any], handles: tuple[int, int]) -> int:
        """Fork the process of a job and return its pid; 0 if it cannot fork because of what it has imported."""
        request = dict(request)
        variables = request["variables"]
        runtime = request.pop("runtime"), [*variables]
        request["variables"] = [*variables.values()]
        del request["preload"]
        try:
            if runtime != self._runtime:
                self._send(RUNTIME, runtime)
                self._runtime = runtime
            self._send(RUN, request, HANDLES.pack(*handles))
            answer = self.channel.recv(PID.size)
        except OSError as error:
            raise ForkServerFailed(str(error)) from error
        if len(answer) < PID.size:
            msg = "it has ended"
            raise ForkServerFailed(msg)
        return int(PID.unpack(answer)[0])

    def read_exit(self) -> tuple[int, float, float, int] | None:
        """Return status and usage of the job's process once it has ended; None while it runs."""
        try:
            raw = self.channel.recv(EXIT.size, socket.MSG_DONTWAIT)  # sent at once, so not in parts
        except BlockingIOError:
            return None
        except OSError:
            raw = b""
        if len(raw) < EXIT.size:
            msg = "it has ended"
            raise ForkServerFailed(msg)
        found: tuple[int, float, float, int] = EXIT.unpack(raw)
        return found

    def _send(self, kind: int, content: Any, handles: bytes = b"") -> None:
        body = marshal.dumps(content, MARSHAL_VERSION)
        message = HEADER.pack(kind, len(body)) + body
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handles)] if handles else ()
        if (sent := self.channel.sendmsg([message], ancillary)) < len(message):
            self.channel.sendall(message[sent:])


class ForkServers:
    """The fork servers of one worker.

    Attributes
    ----------
    pids
        Processes of fork servers that were not reaped yet.
    """

    def __init__(self, pids: set[int]) -> None:
        self.pids = pids
        self._servers: dict[Key, ForkServer] = {}
        self._unforkable: set[Key] = set()
        """Servers that must not fork, since a module has left threads or uses a GPU."""
        self._environment: tuple[object, frozenset[tuple[bytes, bytes]]] = (None, frozenset())
        """The last environment, and its items."""
        self._learned: dict[str, tuple[str, ...]] = {}
        """Preloadable modules that a function or cell has imported, in this order, by what identifies its code."""
        self._last: tuple[Key, str] | None = None

    def start(
        self, request: Mapping[str, Any], environment: Mapping[bytes, bytes], handles: tuple[int, int], preload: str
    ) -> tuple[int, ForkServer] | None:
        """Start the process of a Python job; return its pid and its server, or None if it cannot be forked.

        ``preload`` is the setting. Raises OSError if the interpreter cannot be started, :class:`ForkServerFailed` if
        the fork server has failed.
        """
        if self._environment[0] is not environment:
            self._environment = environment, frozenset(environment.items())
        code, executable = str(request.get("function", request["name"])), request["runtime"]["executable"]
        modules = self._modules(preload, request["preload"], code)
        key: Key = (executable, self._environment[1], _packages(modules))
        if key[2] & NEVER_PRELOADED or key in self._unforkable:
            return None
        server = self._servers.pop(key, None)
        if server is None or not self._is_alive(server.pid):
            while len(self._servers) >= MAX_SERVERS:
                self._close(next(iter(self._servers)))
            server = ForkServer(executable, environment)
            self.pids.add(server.pid)
        self._servers[key] = server  # the most recently used is the last one
        self._last = (key, code) if preload == "auto" else None
        server.preload(modules)
        try:
            pid = server.start(request, handles)
        except ForkServerFailed:
            self._close(key)
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGKILL)  # our own child, which was not reaped
            raise
        if not pid:
            self._unforkable.add(key)
            self._close(key)
            return None
        return pid, server

    def _is_alive(self, pid: int) -> bool:
        """Return False if a server has ended; let one that was stopped continue."""
        if pid in self.pids:
            found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if found and os.WIFSTOPPED(status):
                os.kill(pid, signal.SIGCONT)
            elif found:
                self.pids.discard(pid)
        return pid in self.pids

    def _modules(self, preload: str, hints: Iterable[str], code: str) -> Collection[str]:
        if preload == "none":
            return ()
        if preload != "auto":
            return preload.split(",")
        return dict.fromkeys([*(name for name in hints if name in PRELOADABLE), *self._learned.get(code, ())])

    def learn(self, modules: Iterable[str]) -> None:
        """Preload, from now on, what the job that was started last has imported."""
        found = [sys.intern(name) for name in modules if name.partition(".")[0] in PRELOADABLE]
        if not found or self._last is None:
            return
        key, code = self._last
        known = self._learned.pop(code, ())
        self._learned[code] = tuple(dict.fromkeys((*known, *found)))
        if len(self._learned) > MAX_LEARNED:
            del self._learned[next(iter(self._learned))]
        if server := self._servers.pop(key, None):
            server.preload(found)
            self._servers[key[0], key[1], key[2] | _packages(found)] = server

    def close(self) -> None:
        """End all servers; their processes are reaped later."""
        for key in [*self._servers]:
            self._close(key)

    def _close(self, key: Key) -> None:
        """End a server; its process is reaped later."""
        self._servers.pop(key).channel.close()


def _packages(modules: Iterable[str]) -> frozenset[str]:
    """Return the top-level packages of modules."""
    return frozenset([name.partition(".")[0] for name in modules])
