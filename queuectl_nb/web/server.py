"""The stand-alone server: token authentication, on loopback by default."""

from __future__ import annotations

import asyncio
import copy
import errno
import re
import resource
import signal
import socket
import threading
import time
import webbrowser
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tornado.httpserver import HTTPServer
from tornado.log import app_log
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError

from queuectl_nb.engine.process_tree import use_one_heap
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.render.js_bundle import FRONTEND
from queuectl_nb.store.os_errors import os_reason
from queuectl_nb.web.auth import Auth, is_own_page, load_token
from queuectl_nb.web.base_handler import CONTENT_SECURITY_POLICY, BaseHandler
from queuectl_nb.web.file_handlers import Page
from queuectl_nb.web.handlers import routes
from queuectl_nb.web.queue_reader import QueueReader

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from tornado.iostream import IOStream

    from queuectl_nb.commands.results import Dashboard

__all__ = ["DEFAULT_PORT", "LimitedServer", "TokenAuth", "application", "listen", "max_connections", "serve"]

DEFAULT_PORT = 8642
MAX_PORT_TRIES = 100
MAX_CONNECTIONS = 1000
RESERVED_FILES = 64
"""Files that the process needs besides connections: the queue in each reader thread, logs, static files."""
IDLE_TIMEOUT_S = 30.0
"""A connection is closed after this long without a complete request."""
MAX_REQUEST_BYTES = 64 * 1024
LOG_INTERVAL_S = 3600.0
READY_INTERVAL_S = 0.1
"""Pause before the address is written again to a terminal or pipe that had no room for it."""
FORBIDDEN_PAGE = (FRONTEND / "web" / "forbidden.html").read_text("utf-8")
_STYLE = FORBIDDEN_PAGE.partition("<style>")[2].partition("</style>")[0].encode()
_STYLE_HASH = f"'sha256-{b64encode(sha256(_STYLE).digest()).decode()}'"
FORBIDDEN_PAGE_POLICY = CONTENT_SECURITY_POLICY.replace("style-src 'self'", f"style-src {_STYLE_HASH}") + "'none'"
"""The page contains its style, because other files require the login."""


class TokenAuth(BaseHandler):
    """Requires the token on every route; refuses foreign hosts and requests of foreign pages."""

    @property
    def auth(self) -> Auth:
        """The authentication of this server."""
        auth: Auth = self.application.settings["auth"]
        return auth

    def prepare(self) -> None:
        """Refuse foreign hosts, foreign pages and requests without the token; set the cookie."""
        if not self.auth.allows_host(self.request.host):
            raise HTTPError(HTTPStatus.FORBIDDEN, "this Host is not served here")
        if not is_own_page(self.request.headers, self.request.host):
            raise HTTPError(HTTPStatus.FORBIDDEN, "requests from other pages are refused")
        if not self.current_user:
            raise HTTPError(
                HTTPStatus.FORBIDDEN, "missing or invalid token; 'queuectl dashboard' prints the address with the token"
            )
        if self.request.server_connection is not None:
            self.auth.connections.add(self.request.server_connection.stream)  # type: ignore[attr-defined]
        if isinstance(self, Page) and self.get_query_argument("token", None) is not None:
            self._log_in()

    def _log_in(self) -> None:
        """Set the cookie, and redirect to its path without the token, which must not stay in the browser's history.

        Behind a proxy only the browser knows the whole path: it is that of the page if the cookie has none. So the
        page below the path sets the cookie once more. A program, which keeps the cookies of this server apart from
        those of others, gets it for all paths.
        """
        path = self.auth.cookie_path
        is_browser = "text/html" in self.request.headers.get("Accept", "")
        inside = self.request.path.startswith(path + "/")
        name, value = self.auth.cookie_name, self.auth.cookie_value
        scope = "" if inside else path if is_browser else "/"
        self.set_cookie(name, value, path=scope, httponly=True, samesite="Strict")
        query = {name: values for name, values in self.request.query_arguments.items() if name != "token"}
        if not inside:
            query["token"] = [self.auth.one_time_token().encode()]
        self.redirect((("." if inside else f".{path}") + "/?" + urlencode(query, doseq=True)).rstrip("?"))

    def get_current_user(self) -> str | None:
        """Return "owner" for a request with the token or the cookie."""
        tokens = self.get_query_arguments("token", strip=False)
        accepted = self.auth.accepts(
            self.request.headers.get("Authorization", ""),
            tokens[-1] if tokens else None,
            self.get_cookie(self.auth.cookie_name),
        )
        return "owner" if accepted else None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send a page that explains how to log in, or JSON to programs.

        A browser also asks for paths that this server does not have: those of an earlier one.
        """
        is_browser = "text/html" in self.request.headers.get("Accept", "")
        if status_code == HTTPStatus.FORBIDDEN and (is_browser or isinstance(self, Page)):
            self.set_header("Content-Type", "text/html; charset=utf-8")
            if isinstance(self, Page) and self.request.headers.get("Sec-Fetch-Site") == "cross-site":
                # a link from another site does not carry the strict cookie; a reload by our page does
                self.set_header("Refresh", "0; url=./")
            self.set_header("Content-Security-Policy", FORBIDDEN_PAGE_POLICY)
            self.finish(FORBIDDEN_PAGE)
            return
        super().write_error(status_code, **kwargs)


def application(reader: QueueReader, auth: Auth) -> Application:
    """Return the tornado application: all routes below the path of the cookie, and as they are for programs."""
    paths = [*routes(reader, TokenAuth, re.escape(auth.cookie_path)), *routes(reader, TokenAuth)]
    not_found = paths[-1][1]  # also for targets that are not paths, such as those of a proxy
    return Application(
        paths,
        default_handler_class=not_found,
        default_handler_args={"reader": reader},
        auth=auth,
        log_function=lambda _: None,
    )


def max_connections() -> int:
    """Return the number of connections for which this process may open files; raise if there are none."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    if files <= RESERVED_FILES:
        msg = f"the limit of {files} open files is too low for the web page; raise it, for example: ulimit -n 256"
        raise BadEnvironment(msg)
    return min(MAX_CONNECTIONS, files - RESERVED_FILES)


class LimitedServer(HTTPServer):
    """An HTTP server with a limited number of connections, so that clients without the token cannot lock out its owner.

    At its limit, closes the oldest connection that has not sent the token before it accepts another one.
    """

    def initialize(  # type: ignore[override]
        self, application: Application, limit: int, authenticated: Container[IOStream]
    ) -> None:
        """Serve ``application`` on at most ``limit`` connections; those in ``authenticated`` have sent the token."""
        super().initialize(
            application,
            idle_connection_timeout=IDLE_TIMEOUT_S,
            body_timeout=IDLE_TIMEOUT_S,
            max_header_size=MAX_REQUEST_BYTES,
            max_body_size=MAX_REQUEST_BYTES,
        )
        self._limit = limit
        self._authenticated = authenticated
        self._open: dict[IOStream, None] = {}  # oldest first
        self._logged_at = float("-inf")

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a new connection."""
        if len(self._open) >= self._limit:
            self._log_limit()
            oldest = next((each for each in self._open if each not in self._authenticated), stream)
            self._open.pop(oldest, None)
            oldest.close()
            if oldest is stream:
                return
        self._open[stream] = None
        super().handle_stream(stream, address)

    def on_close(self, server_conn: Any) -> None:
        """Forget a closed connection."""
        self._open.pop(server_conn.stream, None)
        super().on_close(server_conn)

    def _log_limit(self) -> None:
        now = time.monotonic()
        if now - self._logged_at > LOG_INTERVAL_S:
            self._logged_at = now
            app_log.warning("queuectl: all %d connections are in use; closing those without the token", self._limit)


def listen(port: int | None, address: str = "127.0.0.1") -> list[socket.socket]:
    """Listen on ``port`` (0: any free port; None: 8642 or the next free one) of ``address``.

    Raises :class:`BadEnvironment` if it is in use.
    """
    ports = range(DEFAULT_PORT, DEFAULT_PORT + MAX_PORT_TRIES) if port is None else [port]
    for number in ports:
        try:
            return bind_sockets(number, address, family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        except OSError as error:
            if port is None and error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({os_reason(error)})"
            msg = f"port {number} of {address} {why}; choose another --port, or omit it to use the next free one"
            raise BadEnvironment(msg) from error
    msg = f"no port from {ports[0]} to {ports[-1]} is free; choose one with --port, or use --port 0 for any"
    raise BadEnvironment(msg)


def serve(dashboard: Dashboard, on_ready: Callable[[str], bool]) -> None:
    """Serve the page until SIGINT or SIGTERM; a second one does not wait for anything.

    ``on_ready`` is called with the address when the page accepts requests, and again until it returns True.
    """
    limit = max_connections()  # before the event loop, which opens files
    use_one_heap()
    asyncio.run(_serve(dashboard, on_ready, limit))


async def _serve(dashboard: Dashboard, on_ready: Callable[[str], bool], limit: int) -> None:
    queue = dashboard.queue
    sockets = listen(dashboard.port, dashboard.host)
    auth = Auth(load_token(queue.store.db.spool), dashboard.host, sockets[0].getsockname()[1])
    reader = QueueReader(lambda: copy.copy(queue))
    server = LimitedServer(application(reader, auth), limit, auth.connections)
    server.add_sockets(sockets)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    stop = _make_stop_handler(loop, stopped)
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        announced = on_ready(_page_url(auth, auth.token))
        if dashboard.open_browser:  # which may be one in this terminal that runs until it is closed
            address = _page_url(auth, auth.one_time_token())
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        while not announced and not stopped.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), READY_INTERVAL_S)
            announced = on_ready(_page_url(auth, auth.token))
        await stopped.wait()
    finally:
        server.stop()
        reader.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.close_all_connections(), 1)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _make_stop_handler(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> Callable[[int, object], None]:
    """Return a signal handler that stops the server, and at the second signal interrupts whatever it is doing.

    One of the event loop would wait for that.
    """
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(stopped.set)

    return stop


def _page_url(auth: Auth, token: str) -> str:
    """Return the address of the page; a server bound to all interfaces is reached through loopback."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    name = loopback.get(auth.address, auth.address)
    return f"http://{f'[{name}]' if ':' in name else name}:{auth.port}/?token={token}"
