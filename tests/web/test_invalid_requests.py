"""Requests that the API refuses: invalid queries, unknown addresses, methods that write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import BadInput
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
        ("/api/jobs?q=%FF", "UTF-8"),
        ("/api/jobs?q=%00", "NUL"),
        (f"/api/jobs?q={'x' * 1001}", "at most 1000"),
        ("/api/jobs?sort=id", "valid: state, queue, q, limit, after"),
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
        "/static/../handlers.py",
        "/static/%2e%2e/handlers.py",
        "/static/..%2fhandlers.py",
        "/static/shared/../shapes.py",
        "/static/shared/%2e%2e%2fshapes.py",
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
    before = queue.store.reader.revision()
    response = server.ask(target, method=method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert method in response.json["error"]
    assert queue.store.reader.revision() == before


@pytest.mark.parametrize("text", ["", "x", "====", "MS4", "MS4tMQ", "Ni4", "é", "MS4yLjM", "\ud800"])
def test_invalid_cursors(text: str) -> None:
    """Only cursors that the API issued are accepted."""
    with pytest.raises(BadInput, match="next"):
        decode_cursor(text)
