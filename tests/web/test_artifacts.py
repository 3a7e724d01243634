"""Artifacts and metrics on the web: lists, downloads that are never shown, and what running jobs report."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.harness import until
from tests.web.server import TOKEN

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness
    from tests.web.server import WebServer

COMMAND = """cd "$QUEUECTL_ARTIFACTS"; mkdir a; printf '<script>alert(1)</script>' > 'a/ü "x".html'
ln -s "$QUEUECTL_DB" link"""


@pytest.fixture
def finished(harness: WorkerHarness) -> WorkerHarness:
    """Run the job ``a``, which leaves an HTML page and a link."""
    job = harness.add(COMMAND, id="a")
    harness.start()
    job.wait(timeout=60)
    return harness


def test_list(server: WebServer, finished: WorkerHarness) -> None:
    """The list has names and sizes, and says what was not kept."""
    found = server.ask("/api/jobs/a/artifacts").json
    assert (found["attempt"], found["total"]) == (1, 1)
    assert [(each["name"], each["size"]) for each in found["artifacts"]] == [('a/ü "x".html', 25)]
    assert found["note"] == "1 artifact was not kept: links (1)"


def test_download(server: WebServer, finished: WorkerHarness) -> None:
    """A file comes as a download of unknown type, in a sandbox, whatever its name says."""
    response = server.ask("/api/jobs/a/artifacts/a/%C3%BC%20%22x%22.html")
    assert response.body == b"<script>alert(1)</script>"
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%BC%20%22x%22.html"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert response.headers["Content-Length"] == "25"
    head = server.ask("/api/jobs/a/artifacts/a/%C3%BC%20%22x%22.html", method="HEAD")
    assert head.headers["Content-Length"] == "25"
    assert head.headers["Etag"] is response.headers["Etag"] is None


def test_cancelled_download(server: WebServer, harness: WorkerHarness, caplog: pytest.LogCaptureFixture) -> None:
    """A client that leaves in the middle of a download is not an error."""
    job = harness.add("truncate -s 64M $QUEUECTL_ARTIFACTS/big", id="a")
    harness.start()
    job.wait(timeout=60)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = f"GET /api/jobs/a/artifacts/big HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(5) == b"HTTP/"
        assert is_open("big")
    until(lambda: not is_open("big"))
    assert server.ask("/api/status").status == 200
    assert "Cannot send" not in caplog.text


def is_open(name: str) -> bool:
    """Return True if this process has a file of this name open."""
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if each.readlink().name == name:
                return True
    return False


@pytest.mark.parametrize(
    "name",
    ["link", "nope", "..%2Fqueue.db", "%2e%2e/%2e%2e/queue.db", "a", "a/", "%2Fetc%2Fpasswd", "a/%00", "a%2F..%2Fa"],
)
def test_nothing_else_can_be_downloaded(server: WebServer, finished: WorkerHarness, name: str) -> None:
    """Links, folders and paths out of the folder are unknown."""
    response = server.ask(f"/api/jobs/a/artifacts/{name}")
    assert response.status == 404
    assert "error" in response.json


def test_unknown(server: WebServer, finished: WorkerHarness) -> None:
    """Unknown jobs and attempts are 404; a job without artifacts has an empty list."""
    assert server.ask("/api/jobs/nope/artifacts").status == 404
    assert server.ask("/api/jobs/a/artifacts?attempt=2").status == 404
    assert server.ask("/api/jobs/a/artifacts?attempt=x").status == 400
    finished.add("true", id="b")
    assert server.ask("/api/jobs/b/artifacts").json == {"attempt": None, "artifacts": [], "total": 0, "note": None}


def test_running_and_finished_metrics(server: WebServer, harness: WorkerHarness) -> None:
    """What a running job reports is in all answers at once, and stays after its end."""
    release = harness.path.with_name("release")
    line = json.dumps({"progress": 0.25, "loss": 0.5})
    job = harness.add(
        f"echo '{line}' >> $QUEUECTL_METRICS; while [ ! -e {release} ]; do sleep 0.02; done;"
        f" echo '{line.replace('0.5', '0.125')}' >> $QUEUECTL_METRICS",
        id="a",
    )
    assert server.ask("/api/running").json == {"jobs": {}}
    harness.start()
    running = {"progress": 0.25, "metrics": {"loss": 0.5}, "values": [0.5]}
    until(lambda: server.ask("/api/running").json == {"jobs": {"a": running}})
    assert server.ask("/api/jobs/a").json["metrics"] == {"loss": 0.5}
    assert server.ask("/api/jobs").json["jobs"][0]["progress"] == 0.25
    shown = {"name": "loss", "last": 0.5, "values": [0.5]}
    assert server.ask("/api/jobs/a/metrics").json == {"progress": 0.25, "series": [shown]}
    release.touch()
    job.wait(timeout=60)
    shown = {"name": "loss", "last": 0.125, "values": [0.5, 0.125]}
    assert server.ask("/api/jobs/a/metrics").json == {"progress": 0.25, "series": [shown]}
    assert server.ask("/api/jobs/a").json["metrics"] == {"loss": 0.125}
