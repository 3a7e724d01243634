"""Inside Jupyter Server, below a prefix: the same page behind Jupyter's login."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING

import pytest

import queuectl_nb
from queuectl_nb.client import Queue
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.web.jupyter import open_queue
from tests.engine.harness import WorkerHarness, until
from tests.web.jupyter import JupyterProcess
from tests.web.server import Response
from tests.web.test_auth import route_examples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = "/user/ada%20l/"
HERE = f"{BASE}queuectl"


class JupyterServer(JupyterProcess):
    """A Jupyter server with a base URL, as JupyterHub starts it, and our extension."""

    def __init__(self, home: Path, *flags: str) -> None:
        extensions = '{"queuectl_nb": True}'
        super().__init__(
            "jupyter_server",
            home,
            f"--ServerApp.base_url={BASE}",
            f"--ServerApp.jpserver_extensions={extensions}",
            *flags,
        )
        folder = self.root / ".queuectl"
        folder.mkdir(mode=0o700)
        queue = Queue(folder / "queue.db")
        queue.enqueue("echo secret", id="a")
        queue.close()

    def ask(self, target: str, *, method: str = "GET", login: bool = True, **headers: str) -> Response:
        """Send one request; with ``login`` Jupyter's token goes along."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if login:
            sent["Authorization"] = f"token {self.token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, headers=sent)
            answer = connection.getresponse()
            body = answer.read(200) if target.endswith("/events") else answer.read()
            return Response(answer.status, answer.headers, body)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """Return a server with a queue in ``.queuectl/`` of its root, which holds the job ``a``."""
    found = JupyterServer(tmp_path_factory.mktemp("jupyter"))
    yield found
    found.close()


CONFIGURATIONS = [("allow_origin=https://lab.example", True), (r"allow_origin_pat=https://lab\.example\Z", False)]


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def configured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[JupyterServer, bool]]:
    """Return a server that allows an origin, and whether running jobs are activity there."""
    home = tmp_path_factory.mktemp("configured")
    allowed, jobs_are_activity = request.param
    (home / "config").mkdir()
    (home / "config/jupyter_server_config.py").write_text(
        "import queuectl_nb.web.jupyter as extension\n"
        "extension.ACTIVITY_INTERVAL_S = 0.05\n"
        f"c.Queuectl.jobs_are_activity = {jobs_are_activity}\n"
    )
    found = JupyterServer(home, f"--ServerApp.{allowed}")
    yield found, jobs_are_activity
    found.close()


def test_extension_point() -> None:
    """Jupyter finds the loader through the package, and the installed configuration names the package."""
    (point,) = queuectl_nb._jupyter_server_extension_points()
    assert point == {"module": "queuectl_nb.web.jupyter"}
    from pathlib import Path

    config = Path(queuectl_nb.__file__).parents[1] / "jupyter-config/jupyter_server_config.d/queuectl_nb.json"
    assert json.loads(config.read_text()) == {"ServerApp": {"jpserver_extensions": {"queuectl_nb": True}}}


@pytest.mark.parametrize("target", route_examples())
def test_every_route_requires_the_login(jupyter: JupyterServer, target: str) -> None:
    """Without a login every route is 403; the page redirects to the login, and static files are public."""
    for headers in ({}, {"Authorization": "token wrong"}, {"Cookie": "queuectl-8642=x"}):
        response = jupyter.ask(HERE + target, login=False, **headers)
        assert b"secret" not in response.body
        if target.startswith("/static/"):
            assert response.status == 200
        elif target == "/":
            assert response.status == 302
            assert response.headers["Location"].startswith(f"{BASE}login?next=")
        else:
            assert response.status == 403
            assert response.json["error"]
    assert jupyter.ask(HERE + target, method="POST", login=False).status == 403
    missing = target.endswith(("/nothing", "/model.pt"))
    assert jupyter.ask(HERE + target).status == (404 if missing else 200)


def test_queue_of_the_server_root(jupyter: JupyterServer) -> None:
    """The queue is that of the server's folder; the address without a slash redirects."""
    assert jupyter.ask(f"{HERE}/api/jobs/a").json["command"] == "echo secret"
    response = jupyter.ask(HERE)
    assert response.status == 302
    assert response.headers["Location"].endswith("/queuectl/")


def test_new_server_says_how_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a user without a queue names the file that a notebook creates, and creates none itself."""
    path = tmp_path / "queue.db"
    monkeypatch.setenv("QUEUECTL_DB", str(path))
    with pytest.raises(BadEnvironment) as raised:
        open_queue(tmp_path)
    assert str(raised.value) == f"no queue at {path} yet; '%queuectl enqueue' in a notebook creates it"
    assert not path.exists()


def test_foreign_pages_are_refused(jupyter: JupyterServer) -> None:
    """Another origin is 403 without CORS headers, even with Jupyter's token."""
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{jupyter.port + 1}"):
        response = jupyter.ask(f"{HERE}/api/status", Origin=origin)
        assert response.status == 403
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]
    response = jupyter.ask(f"{HERE}/api/status", Origin=f"http://127.0.0.1:{jupyter.port}")
    assert response.status == 200
    assert not [name for name in response.headers if name.lower().startswith("access-control-")]
    assert jupyter.ask(f"{HERE}/api/status", Host="evil.example").status == 403


def test_origins_allowed_by_jupyter(configured: tuple[JupyterServer, bool]) -> None:
    """An origin allowed in Jupyter's settings is served after the login, any other is 403; neither gets CORS."""
    jupyter, _ = configured
    for target in ("/", "/api/status"):
        assert jupyter.ask(HERE + target, Origin="https://lab.example").status == 200
        assert jupyter.ask(HERE + target, Origin=f"http://127.0.0.1:{jupyter.port}").status == 200
        assert jupyter.ask(HERE + target, login=False, Origin="https://lab.example").status in (302, 403)
        for origin in ("https://evil.example", "https://lab.example.evil", "null"):
            for login in (True, False):
                response = jupyter.ask(HERE + target, login=login, Origin=origin)
                assert response.status == 403, (origin, login)
                assert not [name for name in response.headers if name.lower().startswith("access-control-")]


def test_security_headers(jupyter: JupyterServer) -> None:
    """The policy is as strict as on the stand-alone server, except that Jupyter may frame the page."""
    for target in ("/", "/api/status", "/nothing"):
        headers = jupyter.ask(HERE + target).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_running_jobs_are_activity(configured: tuple[JupyterServer, bool]) -> None:
    """While a live worker runs a job the server is active, so that no culler stops it; admins can switch this off."""
    jupyter, enabled = configured
    harness = WorkerHarness(Queue(jupyter.root / ".queuectl/queue.db"))

    def last_activity() -> str:
        return str(json.loads(jupyter.ask(f"{BASE}api/status").body)["last_activity"])

    try:
        jupyter.ask(f"{HERE}/api/status")
        idle = last_activity()
        harness.add("sleep 600", id="long", priority=1)
        harness.start()
        until(lambda: harness.queue.job("long").state == "processing")
        if enabled:
            until(lambda: last_activity() > idle)
            latest = last_activity()
            until(lambda: last_activity() > latest)
        else:
            for _ in range(20):
                assert last_activity() == idle
    finally:
        harness.close()
        harness.queue.close()


def test_errors_are_json(jupyter: JupyterServer) -> None:
    """Invalid queries, unknown jobs and other methods respond as on the stand-alone server."""
    assert "valid: none" in jupyter.ask(f"{HERE}/api/status?x=1").json["error"]
    assert jupyter.ask(f"{HERE}/api/jobs/nobody").status == 404
    assert jupyter.ask(f"{HERE}/api/jobs", method="DELETE").json["error"].startswith("DELETE is not allowed")
    assert jupyter.ask(f"{HERE}/api/jobs", method="HEAD").status == 200


def test_event_feed(jupyter: JupyterServer) -> None:
    """The current state is sent at once."""
    response = jupyter.ask(f"{HERE}/api/events")
    assert response.status == 200
    assert b"event: overview" in response.body
