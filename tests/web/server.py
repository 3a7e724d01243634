"""A stand-alone server in a thread, and a client that sends arbitrary requests."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from queuectl_nb.client import Queue
from queuectl_nb.web.auth import Auth
from queuectl_nb.web.queue_reader import QueueReader
from queuectl_nb.web.server import LimitedServer, application, listen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["TOKEN", "Response", "WebServer"]

TOKEN = "t" * 43


@dataclass
class Response:
    """A response of the server."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body as a value."""
        assert self.headers["Content-Type"] == "application/json; charset=utf-8"
        return json.loads(self.body)


@dataclass
class WebServer:
    """A server on a free port of loopback."""

    path: Path
    port: int = 0
    limit: int = 1000
    reader: QueueReader | None = None
    auth: Auth = field(default_factory=lambda: Auth(TOKEN))

    def __post_init__(self) -> None:
        self.start()

    def restart(self) -> None:
        """End the server and start a new one on the same port."""
        self.close()
        self.auth = Auth(TOKEN)
        self.start()

    def start(self) -> None:
        """Start the server, on the previous port if there is one, with the same logins."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    async def _serve(self) -> None:
        sockets = listen(self.port)
        self.port = sockets[0].getsockname()[1]
        self.auth.port = self.port
        self.reader = QueueReader(lambda: Queue(self.path, create=False))
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = LimitedServer(application(self.reader, self.auth), self.limit, self.auth.connections)
        server.add_sockets(sockets)
        self._ready.set()
        await self._stop.wait()
        server.stop()
        self.reader.close()
        await asyncio.wait_for(server.close_all_connections(), 30)

    def run_on_loop(self, action: Callable[[], Any]) -> Any:
        """Call a function on the server's event loop and return its result."""

        async def run() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    def close(self) -> None:
        """Stop the server."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    def connect(self) -> http.client.HTTPConnection:
        """Return a new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, target: str, *, method: str = "GET", login: bool = True, **headers: str) -> Response:
        """Send one request; names of headers have ``_`` for ``-``. With ``login`` the token goes along."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if login:
            sent.setdefault("Authorization", f"Bearer {TOKEN}")
        connection = self.connect()
        try:
            connection.putrequest(method, target, skip_host="Host" in sent)
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
