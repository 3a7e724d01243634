"""The fork servers of a worker: warm processes that fork the processes of Python jobs (``child/fork_server.py``)."""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.channel import EXIT, PID, SIZE, receive
from queuectl_nb.engine.executor import ForkServerFailed
from queuectl_nb.engine.python.request import MARSHAL_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["PRELOADABLE", "ForkServer", "ForkServers"]

MAX_SERVERS = 3
"""Fork servers of a worker; the one that was not used for longest is replaced."""
START_TIMEOUT_S = 60.0
"""Time for a fork server to import its modules and fork a job."""
PRELOADABLE = frozenset({"cloudpickle", "matplotlib", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "torch"})
"""Modules that may be imported before a fork: they start no threads that a fork would lose."""
_CHANNEL = 3
"""Descriptor of the socket in a server."""

Key = tuple[str, frozenset[tuple[bytes, bytes]], frozenset[str]]


class ForkServer:
    """One fork server: an interpreter in an environment, with some modules imported."""

    def __init__(self, executable: str, environment: Mapping[bytes, bytes], modules: frozenset[str]) -> None:
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
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        except OSError:
            self.channel.close()
            raise
        finally:
            theirs.close()
        self.modules: frozenset[str] = frozenset()
        self.preload(modules)

    def preload(self, modules: frozenset[str]) -> None:
        """Have it import modules."""
        new = modules - self.modules
        self.modules |= modules
        if new:
            with contextlib.suppress(OSError):  # noticed at the next start
                self._send({"import": sorted(new)}, ())

    def start(self, request: Mapping[str, Any], handles: tuple[int, int]) -> int:
        """Fork the process of a job and return its pid."""
        self.channel.settimeout(START_TIMEOUT_S)
        try:
            self._send(request, handles)
            answer = receive(self.channel, PID.size)
        except OSError as error:
            raise ForkServerFailed(str(error)) from error
        finally:
            self.channel.setblocking(False)
        pid = int(PID.unpack(answer)[0]) if answer else 0
        if not pid:
            msg = "it has ended"
            raise ForkServerFailed(msg)
        return pid

    def read_exit(self) -> tuple[int, float, float, int] | None:
        """Return status and usage of the job's process once it has ended; None while it runs."""
        try:
            raw = self.channel.recv(EXIT.size, socket.MSG_PEEK)
            if len(raw) == EXIT.size:
                self.channel.recv(EXIT.size)
                found: tuple[int, float, float, int] = EXIT.unpack(raw)
                return found
        except BlockingIOError:
            return None
        except OSError:
            raw = b""
        if not raw:
            msg = "it has ended"
            raise ForkServerFailed(msg)
        return None

    def _send(self, message: Mapping[str, Any], handles: Iterable[int]) -> None:
        body = marshal.dumps(dict(message), MARSHAL_VERSION)
        socket.send_fds(self.channel, [SIZE.pack(len(body))], list(handles))
        self.channel.sendall(body)


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
        self._learned: dict[str, frozenset[str]] = {}
        """Preloadable modules that a function or cell was seen to import, by what identifies its code."""
        self._last: tuple[Key, str] | None = None

    def start(
        self, request: Mapping[str, Any], environment: Mapping[bytes, bytes], handles: tuple[int, int], preload: str
    ) -> tuple[int, ForkServer]:
        """Start the process of a Python job; return its pid, and its server.

        ``preload`` is the setting. Raises OSError if the interpreter cannot be started, :class:`ForkServerFailed` if
        the fork server has failed.
        """
        code, executable = str(request.get("function", request["name"])), request["runtime"]["executable"]
        modules = self._modules(preload, request["preload"], code)
        key: Key = (executable, frozenset(environment.items()), modules)
        server = self._servers.pop(key, None)
        if server is None or not self._is_alive(server.pid):
            while len(self._servers) >= MAX_SERVERS:
                self._close(next(iter(self._servers)))
            server = ForkServer(executable, environment, modules)
            self.pids.add(server.pid)
        self._servers[key] = server  # the most recently used is the last one
        self._last = key, code
        try:
            return server.start(request, handles), server
        except ForkServerFailed:
            self._close(key)
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGKILL)  # our own child, which was not reaped
            raise

    def _is_alive(self, pid: int) -> bool:
        if pid in self.pids and os.waitpid(pid, os.WNOHANG) != (0, 0):
            self.pids.discard(pid)
        return pid in self.pids

    def _modules(self, preload: str, hints: Iterable[str], code: str) -> frozenset[str]:
        if preload == "none":
            return frozenset()
        if preload != "auto":
            return frozenset(preload.split(","))
        return PRELOADABLE & frozenset(hints) | self._learned.get(code, frozenset())

    def learn(self, modules: Iterable[str]) -> None:
        """Preload, from now on, what the job that was started last has imported."""
        found = PRELOADABLE & frozenset(modules)
        if not found or self._last is None:
            return
        key, code = self._last
        self._learned[code] = self._learned.get(code, frozenset()) | found
        if server := self._servers.pop(key, None):
            server.preload(found)
            self._servers[key[0], key[1], server.modules] = server

    def _close(self, key: Key) -> None:
        """End a server; its process is reaped later."""
        self._servers.pop(key).channel.close()
