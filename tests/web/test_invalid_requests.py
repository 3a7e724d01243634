"""Requests that the API refuses: invalid queries, unknown addresses, methods that write."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.js_bundle import FRONTEND, SHARED
from queuectl_nb.web.query_params import decode_cursor

if TYPE_CHECKING:
    from queuectl_nb.client import Queue
    from tests.web.server import WebServer


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("/api/jobs?state=broken", "pending, processing"),
        ("/api/jobs?state=%27%20OR%201=1--", "valid: pending"),
        ("/api/jobs?queue=../x", "queue"),
        ("/api/jobs?limit=0", "from 1 to 1000"),
        ("/api/jobs?limit=1001", "from 1 to 1000"),
        ("/api/jobs?limit=1_0", "whole number"),
        ("/api/jobs?limit=-1", "from 1 to 1000"),
        ("/api/jobs?limit=5&limit=6", "2 times"),
        ("/api/jobs?after=bogus", "'next' of an earlier page"),
        ("/api/jobs?after=MS4t", "'next' of an earlier page"),
        ("/api/jobs?tag=a%20b", "tag"),
        ("/api/jobs?search=a&q=b", "search or q"),
        ("/api/jobs?q=%FF", "UTF-8"),
        ("/api/jobs?q=%00", "NUL"),
        (f"/api/jobs?q={'x' * 1001}", "at most 1000"),
        ("/api/jobs?sort=id", "valid: state, queue, tag, error, search, q, limit, after, short"),
        ("/api/status?x=1", "valid: none"),
        ("/api/workers?x", "valid: none"),
        ("/api/stats?by=command", "valid: none"),
        ("/api/events?x=1", "valid: none"),
        ("/metrics?x=1", "valid: none"),
        ("/api/jobs/a?stdout=1", "valid: output"),
        ("/api/jobs/a?output=1", "valid: yes, no"),
        ("/api/jobs/a/log?stream=stdin", "valid: stdout, stderr"),
        ("/api/jobs/a/log?attempt=0", "attempt"),
        ("/api/jobs/a/log?attempt=x", "attempt"),
        ("/api/jobs/a/log?offset=-1", "offset"),
        ("/api/jobs/a/log?offset=99999999999999999999", "offset"),
        ("/api/jobs/a/log?follow=1", "valid: stream, attempt, offset"),
    ],
)
def test_invalid_queries(server: WebServer, queue: Queue, target: str, names: str) -> None:
    """An invalid query is 400 and one line that names the parameter and the valid values."""
    queue.enqueue("true", id="a")
    response = server.ask(target)
    assert response.status == 400
    assert list(response.json) == ["error"]
    assert names in response.json["error"]
    assert "\n" not in response.json["error"]


OUTSIDE = (
    "../notebook/table_pane.js",
    "%2e%2e/notebook/table_pane.js",
    "..%2fnotebook/table_pane.js",
    "shared/../notebook/table_pane.js",
    "shared/%2e%2e%2fnotebook/table_pane.js",
    "../../web/auth.py",
    "%2e%2e%2f%2e%2e%2fweb%2fauth.py",
)
"""Files outside the static folders."""


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_outside_the_static_folders_exist(path: str) -> None:
    """The paths that must not be served lead to files."""
    folder = SHARED if path.startswith("shared/") else FRONTEND / "web"
    assert (folder / unquote(path.removeprefix("shared/"))).is_file()


@pytest.mark.parametrize(
    "target",
    [
        "/api/jobs/nobody",
        "/api/jobs/nobody/log",
        "/api/jobs/a/log?attempt=7",
        "/api/jobs/%FF",
        "/api/jobs/..%2f..%2fetc%2fpasswd",
        "/api/jobs/a/",
        "/api/jobs/a/b",
        "/api/",
        "/api/nothing",
        "/nothing",
        "/static/",
        "/static/shared",
        "/static/nothing.js",
        *(f"/static/{path}" for path in OUTSIDE),
        "/static//etc/passwd",
        "/static/%00",
        "/static/shared/.",
    ],
)
def test_unknown_addresses(server: WebServer, queue: Queue, target: str) -> None:
    """Unknown jobs, attempts, addresses and files are errors in JSON; folders are not listed."""
    queue.enqueue("true", id="a")
    response = server.ask(target)
    assert response.status in (400, 403, 404)
    assert list(response.json) == ["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "target", ["/", "/api/jobs", "/api/jobs/a", "/api/events", "/metrics", "/static/page.js", "/x"]
)
def test_other_methods_are_refused(server: WebServer, queue: Queue, method: str, target: str) -> None:
    """Methods other than GET and HEAD are 405 with ``Allow`` and change nothing."""
    queue.enqueue("true", id="a")
    before = queue.store.db.revision()
    response = server.ask(target, method=method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert method in response.json["error"]
    assert queue.store.db.revision() == before


@pytest.mark.parametrize("text", ["", "x", "7", "7.", ".7", "7.-1", "7.2.3", "7.x", "1_0.2", "é.1", "\ud800"])
def test_invalid_cursors(text: str) -> None:
    """Only cursors that the API issued are accepted."""
    with pytest.raises(BadInput, match="next"):
        decode_cursor(text)


HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"GET /?token=%FF%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        HEAD + b"Cookie: " + b"x" * 70_000 + b"\r\n\r\n",
        HEAD + b'Cookie: "\\377\r\n\r\n',
        HEAD + b"Authorization: \xff\r\n\r\n",
        HEAD + b"Content-Length: 99999999\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5\r\n\r\nabcde",
        HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_malformed_requests(server: WebServer, caplog: pytest.LogCaptureFixture, request_bytes: bytes) -> None:
    """A malformed request without the token is refused, and writes nothing to the log."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        client.sendall(request_bytes)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):
            while piece := client.recv(65536):
                answer += piece
    assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 403", b"HTTP/1.1 405"), answer[:200]
    assert b"Tornado" not in answer
    assert server.ask("/api/status").status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
