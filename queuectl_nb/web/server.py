"""Our own server: loopback, a token, a port that is free; it serves until it is interrupted."""

from __future__ import annotations

import asyncio
import copy
import errno
import signal
import socket
import webbrowser
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.render.js_bundle import FRONTEND
from queuectl_nb.web.auth import Auth, own_page
from queuectl_nb.web.page_handlers import Page
from queuectl_nb.web.queue_reader import QueueReader
from queuectl_nb.web.routes import routes
from queuectl_nb.web.token import kept_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.commands.results import Dashboard

__all__ = ["DEFAULT_PORT", "application", "bound", "serve"]

DEFAULT_PORT = 8642
TRIES = 100
"""Ports that are tried from the default one upwards."""
COOKIE_LASTS = 30 * 86_400
"""Seconds for which a browser that has shown the token need not show it again."""
LARGEST_REQUEST = 64 * 1024
"""Bytes of a request's head and body: we are only ever asked."""


class TokenAuth(RequestHandler):
    """Lets nobody pass without the token, to whatever address, and nobody whom another page sent."""

    @property
    def door(self) -> Auth:
        """The door of this server."""
        found: Auth = self.application.settings["door"]
        return found

    def prepare(self) -> None:
        """Refuse foreign hosts and pages, then who has no token; whoever shows it gets the cookie."""
        headers = self.request.headers
        if not self.door.takes_host(self.request.host):
            raise HTTPError(HTTPStatus.FORBIDDEN, "this Host is not served here")
        if not own_page(headers, self.request.host):
            raise HTTPError(HTTPStatus.FORBIDDEN, "requests from other pages are refused")
        if not self.current_user:
            raise HTTPError(HTTPStatus.FORBIDDEN, "no token, or a wrong one; 'queuectl dashboard' prints the address")
        if self.get_query_argument("token", None) is not None:
            # no Path: the browser takes that of the page, which is ours alone also behind a proxy's prefix
            name, value = self.door.cookie_name, self.door.cookie_value
            self.set_cookie(name, value, path="", max_age=COOKIE_LASTS, httponly=True, samesite="Strict")
            if isinstance(self, Page):
                self._forget_token()

    def _forget_token(self) -> None:
        """Lead a browser to the same address without the token, so that none stays in its history."""
        left = [
            (name, value)
            for name, values in self.request.query_arguments.items()
            for value in values
            if name != "token"
        ]
        self.redirect("./" + ("?" + urlencode(left) if left else ""))

    def get_current_user(self) -> str | None:
        """Return the owner, for who has the token or the cookie; they have no name."""
        given = self.get_query_arguments("token", strip=False)
        known = self.door.knows(
            self.request.headers.get("Authorization", ""),
            given[-1] if given else None,
            self.get_cookie(self.door.cookie_name),
        )
        return "owner" if known else None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell a person without a token what to do; a program gets JSON, as ever."""
        if status_code == HTTPStatus.FORBIDDEN and isinstance(self, Page):
            self.set_header("Content-Type", "text/html; charset=utf-8")
            if self.request.headers.get("Sec-Fetch-Site") == "cross-site":
                # a strict cookie stays at home when another site leads here; it comes along when our page does
                self.set_header("Refresh", "0; url=./")
            self.finish((FRONTEND / "web" / "forbidden.html").read_bytes())
            return
        super().write_error(status_code, **kwargs)


def application(site: QueueReader, door: Auth) -> Application:
    """Return the tornado application that shows ``site`` to who passes ``door``."""
    return Application(routes(site, TokenAuth), door=door, log_function=lambda _: None)


def bound(port: int | None, address: str = "127.0.0.1") -> list[socket.socket]:
    """Listen on ``port`` (0: any; None: 8642 or the next free) of ``address``.

    Raises :class:`BadEnvironment` where it is taken.
    """
    tried = range(DEFAULT_PORT, DEFAULT_PORT + TRIES) if port is None else [port]
    for number in tried:
        try:
            return bind_sockets(number, address, family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        except OSError as error:
            if port is None and error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            msg = f"port {number} of {address} {why}; name another with --port, or leave it out for the next free one"
            raise BadEnvironment(msg) from error
    msg = f"no port from {tried[0]} to {tried[-1]} is free; name one with --port, or --port 0 for any"
    raise BadEnvironment(msg)


def serve(dashboard: Dashboard, sockets: list[socket.socket], ready: Callable[[str], object]) -> None:
    """Serve the page until SIGINT or SIGTERM; ``ready`` gets its address with the token once it answers."""
    asyncio.run(_serve(dashboard, sockets, ready))


async def _serve(dashboard: Dashboard, sockets: list[socket.socket], ready: Callable[[str], object]) -> None:
    queue = dashboard.queue
    door = Auth(kept_token(queue.store.db.spool), dashboard.host, sockets[0].getsockname()[1])
    site = QueueReader(lambda: copy.copy(queue))
    server = HTTPServer(application(site, door), max_header_size=LARGEST_REQUEST, max_body_size=LARGEST_REQUEST)
    server.add_sockets(sockets)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        ready(_shown(door, door.token))
        if dashboard.browse:
            await loop.run_in_executor(None, webbrowser.open, _shown(door, door.one_time_token()))
        await stopped.wait()
    finally:
        server.stop()
        site.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.close_all_connections(), 1)


def _shown(door: Auth, token: str) -> str:
    """Return the address as people open it: one that listens everywhere is reached at this machine's own."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(door.address, door.address)  # noqa: S104 - told apart, not bound
    return f"http://{f'[{name}]' if ':' in name else name}:{door.port}/?token={token}"
