"""A minimal reverse proxy: removes a prefix and sends Host as loopback."""

from __future__ import annotations

import http.client
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOP_BY_HOP = ("connection", "transfer-encoding", "keep-alive", "host")


class PrefixProxy:
    """Serves the loopback server at ``port`` below ``prefix``, on its own port."""

    def __init__(self, port: int, prefix: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                forward(self, port, prefix)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}{prefix}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop the proxy."""
        self.server.shutdown()
        self.server.server_close()


def forward(request: BaseHTTPRequestHandler, port: int, prefix: str) -> None:
    """Forward a request, and the response as it arrives."""
    if not request.path.startswith(prefix):
        request.send_error(404)
        return
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with suppress(OSError, http.client.HTTPException):
        connection.request(request.command, request.path[len(prefix) - 1 :], headers={**headers, "Host": "127.0.0.1"})
        answer = connection.getresponse()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                request.send_header(name, value)
        request.end_headers()
        while request.command == "GET" and (piece := answer.read1(65536)):
            request.wfile.write(piece)
            request.wfile.flush()
    connection.close()
