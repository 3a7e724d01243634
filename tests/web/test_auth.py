"""Authentication: the token on every route, Host and Origin checks, security headers."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from queuectl_nb.web.auth import Auth, host_name, is_own_origin, load_token
from queuectl_nb.web.handlers import ROUTES
from tests.web.server import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.web.server import WebServer

EXAMPLES = {
    "(?P<job_id>[^/]+)": "a",
    "(?P<name>.+)": "model.pt",
    "shared/(?P<path>.+)": "shared/table.js",
    "(?P<path>.+)": "page.js",
    ".*": "nothing",
}


def route_examples() -> list[str]:
    """Return one address per route."""
    found = []
    for pattern, _, _ in ROUTES:
        target = pattern
        for part, example in EXAMPLES.items():
            target = target.replace(part, example)
        assert not re.search(r"[()*+?\\]", target)
        found.append(target)
    return found


@pytest.mark.parametrize("target", route_examples())
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("prefixed", [False, True])
def test_every_route_requires_the_token(
    server: WebServer, queue: Queue, target: str, method: str, prefixed: bool
) -> None:
    """A missing or wrong token is 403 on every route and reveals nothing."""
    queue.enqueue("echo secret", id="a")
    target = server.auth.cookie_path * prefixed + target
    wrong = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Cookie": f"queuectl-{server.port}={TOKEN}"},
        {"Cookie": f"queuectl-{server.port}="},
        {"Cookie": f"queuectl={server.auth.cookie_value}"},
    ]
    for headers in wrong:
        response = server.ask(target, method=method, login=False, **headers)
        assert response.status == 403, headers
        assert b"secret" not in response.body
        assert "Set-Cookie" not in response.headers
    for query in ("token=wrong", "token=", f"token={TOKEN[:-1]}", f"Token={TOKEN}", "token=%FF"):
        response = server.ask(f"{target}?{query}", method=method, login=False)
        assert response.status in (400, 403), query
        assert "Set-Cookie" not in response.headers


def test_login_moves_the_page_to_a_path_of_its_own(server: WebServer) -> None:
    """The printed address sets a strict cookie for a secret path and redirects there, without the token."""
    response = server.ask(f"/?token={TOKEN}&x=1", login=False, Accept="text/html,*/*")
    assert response.status == 302
    path = server.auth.cookie_path
    assert re.fullmatch(r"/[A-Za-z0-9_-]{22}", path)
    target, _, query = response.headers["Location"].partition("?")
    assert target == f".{path}/"
    cookie, *attributes = response.headers["Set-Cookie"].split("; ")
    assert sorted(attributes) == ["HttpOnly", f"Path={path}", "SameSite=Strict"]  # no Max-Age: until the browser ends
    again = server.ask(f"{path}/?{query}", login=False)
    assert (again.status, again.headers["Location"]) == (302, "./?x=1")
    # behind a proxy only the browser knows the path, and takes that of the page if there is none
    assert again.headers["Set-Cookie"] == f"{cookie}; HttpOnly; SameSite=Strict"
    for each in (response, again):
        assert TOKEN not in str(each.headers)
    assert server.ask(f"{path}/?{query}", login=False).status == 403  # the token of the redirect works once
    for target in ("/", "/api/jobs", "/metrics", "/static/shared/table.js"):
        assert server.ask(path + target, login=False, Cookie=cookie).status == 200
        assert server.ask(path + target, login=False).status == 403
        assert server.ask(path + target).status == 200


def test_a_cookie_is_worthless_to_other_servers(server: WebServer) -> None:
    """A browser sends the cookie to no other path of the host, and it ends with the server; the token stays."""
    path = server.auth.cookie_path
    cookie = server.ask(f"/?token={TOKEN}", login=False).headers["Set-Cookie"].partition("; ")[0]
    assert TOKEN not in cookie
    assert server.ask(f"{path}/api/status", login=False, Cookie=cookie).status == 200
    server.restart()
    for target in (f"{path}/api/status", f"{server.auth.cookie_path}/api/status", "/api/status"):
        assert server.ask(target, login=False, Cookie=cookie).status == 403
    assert server.auth.cookie_path != path
    assert cookie not in server.ask(f"/?token={TOKEN}", login=False).headers["Set-Cookie"]


def test_programs_use_plain_paths(server: WebServer) -> None:
    """The token is accepted in the header and in the query of every route; ``/?token=`` sets a cookie for them all."""
    for target in ("/api/status", "/metrics"):
        for response in (server.ask(target), server.ask(f"{target}?token={TOKEN}", login=False)):
            assert response.status == 200
            assert "Set-Cookie" not in response.headers
    session = build_opener(HTTPCookieProcessor())
    address = f"http://127.0.0.1:{server.port}"
    for target in (f"/?token={TOKEN}", "/", "/api/status", "/metrics"):  # logged in once, then with the cookie
        assert session.open(address + target).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil@127.0.0.1", "127.0.0.1:80@evil.example",
     "127.0.0.1 evil.example", "10.0.0.1", "localhost.", "[::1", "127.0.0.1:x", "127.0.0.1/x", "127.1"],
)  # fmt: skip
def test_foreign_hosts_are_refused(server: WebServer, host: str) -> None:
    """Host headers other than loopback are refused, even with the token."""
    response = server.ask("/api/status", Host=host)
    assert response.status in (400, 403), response.body
    assert b"counts" not in response.body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9000", "[::1]:8642"])
def test_own_hosts_are_allowed_at_any_port(server: WebServer, host: str) -> None:
    """Forwarded ports differ from the server's port."""
    assert server.ask("/api/status", Host=host).status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "file://", "http://127.0.0.1"]
)
def test_foreign_origins_are_refused(server: WebServer, origin: str) -> None:
    """Another origin, including another port, is 403 even with the token; there are no CORS headers."""
    for target in ("/", "/api/status", "/api/events", "/metrics", "/static/shared/table.js"):
        response = server.ask(target, Origin=origin)
        assert response.status == 403
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]


def test_own_origin_is_allowed(server: WebServer) -> None:
    """Requests of the page itself pass, also behind a proxy; cross-site requests do not."""
    assert server.ask("/api/status", Origin=f"http://127.0.0.1:{server.port}").status == 200
    assert server.ask("/api/status", Sec_Fetch_Site="same-origin").status == 200
    assert server.ask("/api/status", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    behind: dict[str, Any] = {"Origin": "https://hub.example", "Host": "127.0.0.1"}  # as a proxy of that name asks
    assert server.ask("/api/status", **behind).status == 403
    assert server.ask("/api/status", Sec_Fetch_Site="same-origin", **behind).status == 200
    assert server.ask("/api/status", X_Forwarded_Host="hub.example", **behind).status == 200
    assert server.ask("/api/status", X_Forwarded_Host="evil.example", **behind).status == 403
    assert server.ask("/api/status", Sec_Fetch_Site="same-site", **behind).status == 403
    assert server.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200


@pytest.mark.parametrize("target", [*route_examples(), "/static/nothing.js"])
def test_security_headers(server: WebServer, queue: Queue, target: str) -> None:
    """Every response, including errors, carries the security headers."""
    queue.enqueue("true", id="a")
    if target == "/api/events":
        return  # checked in test_feed
    for login in (True, False):
        headers = server.ask(target, login=login).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "no-cache" in headers["Cache-Control"]
        assert "Server" not in headers
        assert headers["Content-Type"].split(";")[0] in (
            "text/html", "application/json", "text/plain", "text/javascript", "text/css", "image/svg+xml"
        )  # fmt: skip


def test_login_page(server: WebServer) -> None:
    """Without a login the page explains how to log in; a cross-site visit reloads once."""
    response = server.ask("/", login=False)
    assert response.status == 403
    assert b"queuectl dashboard" in response.body
    assert "Refresh" not in response.headers
    # a strict cookie does not come along when another site leads here: the browser must ask by itself once more
    again = server.ask("/", login=False, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert (again.status, again.headers["Refresh"]) == (403, "0; url=./")
    # so does a reload of the page of an earlier server; programs get JSON
    earlier = server.ask("/path-of-an-earlier-server/", login=False, Accept="text/html,*/*;q=0.8")
    assert (earlier.status, earlier.body) == (403, response.body)
    assert server.ask("/api/status", login=False, Accept="*/*").json["error"].startswith("missing or invalid token")


def test_one_time_token() -> None:
    """A one-time token logs in once, within its lifetime, and is then forgotten."""
    auth = Auth(TOKEN)
    word = auth.one_time_token()
    assert word != TOKEN
    assert not auth.accepts("", "x" + word, None)
    assert auth.accepts("", word, None)
    assert not auth.accepts("", word, None)
    late = auth.one_time_token()
    auth.one_time_tokens[late] = 0
    unused = auth.one_time_token()
    assert set(auth.one_time_tokens) == {unused}
    assert not auth.accepts("", late, None)


def test_hosts_of_a_server_on_all_interfaces() -> None:
    """A server on 0.0.0.0 allows any address and the machine's own names."""
    import socket

    auth = Auth(TOKEN, "0.0.0.0")  # noqa: S104 - nothing listens here
    assert auth.allows_host("192.168.0.7:8642")
    assert auth.allows_host("[fe80::1]:8642")
    assert auth.allows_host(socket.gethostname())
    assert not auth.allows_host("evil.example")
    assert not Auth(TOKEN, "192.168.0.7").allows_host("192.168.0.8")


def test_host_and_origin_parsing() -> None:
    """Case does not matter; everything else does."""
    assert host_name("A.b-c:1") == "a.b-c"
    assert host_name("a:123456") is None
    assert host_name("[::1%25lo]:1") is None
    assert is_own_origin("HTTP://LocalHost:1", "localhost:1")
    assert not is_own_origin("http://localhost:1/", "localhost:1")
    assert not is_own_origin("", "localhost:1")


def test_stored_token(tmp_path: Path) -> None:
    """The token is random, has mode 0600 whatever the umask, and survives a restart."""
    before = os.umask(0)
    try:
        token = load_token(tmp_path)
    finally:
        os.umask(before)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_token(tmp_path) == token
    assert load_token(_folder(tmp_path / "other")) != token


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("planted", ["link", "readable", "short", "folder", "pipe", "dangling"])
def test_a_planted_token_is_not_used(tmp_path: Path, planted: str) -> None:
    """A link, a readable file, an invalid one, a folder or a pipe is replaced, not followed."""
    folder = _folder(tmp_path / "spool")
    path = folder / "web.token"
    victim = tmp_path / "victim"
    victim.write_text("A" * 43)
    victim.chmod(0o600)
    if planted in ("link", "dangling"):
        path.symlink_to(victim if planted == "link" else tmp_path / "nowhere")
    elif planted == "folder":
        path.mkdir()
    elif planted == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.write_text("A" * 43 if planted == "readable" else "short")
        path.chmod(0o644 if planted == "readable" else 0o600)
    token = load_token(folder)
    assert token != "A" * 43
    assert load_token(folder) == token
    assert victim.read_text() == "A" * 43
    assert not (tmp_path / "nowhere").exists()
    assert [each.name for each in folder.iterdir()] == ["web.token"]
