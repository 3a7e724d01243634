"""An HTTP server with a limited number of connections, so that clients without the token cannot lock out its owner."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.log import app_log

from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    from collections.abc import Container

    from tornado.iostream import IOStream
    from tornado.web import Application

__all__ = ["LimitedServer", "max_connections"]

MAX_CONNECTIONS = 1000
RESERVED_FILES = 64
"""Files that the process needs besides connections: the queue in each reader thread, logs, static files."""
IDLE_TIMEOUT_S = 30.0
"""A connection is closed after this long without a complete request."""
MAX_REQUEST_BYTES = 64 * 1024
LOG_INTERVAL_S = 3600.0


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
    """At its limit, closes the oldest connection that has not sent the token before it accepts another one."""

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
