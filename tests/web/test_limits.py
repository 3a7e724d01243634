"""Limits of the stand-alone server: clients without the token neither lock out its owner nor fill its log."""

from __future__ import annotations

import logging
import resource
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from tornado.log import app_log

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.web import server as web_server
from tests.engine.harness import until
from tests.web.server import TOKEN, WebServer
from tests.web.test_dashboard import ADDRESS, read_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Ran

LIMIT = 8
REQUEST = f"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


@pytest.fixture
def small_server(queue_path: Path) -> Iterator[WebServer]:
    """Return a server for few connections."""
    found = WebServer(queue_path, limit=LIMIT)
    yield found
    found.close()


def connect(server: WebServer, stack: ExitStack) -> socket.socket:
    """Return a new connection."""
    return stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))


def open_feed(server: WebServer, stack: ExitStack) -> socket.socket | None:
    """Return a connection on which the event feed has begun; None if the request was not sent in time."""
    client = connect(server, stack)
    with suppress(ConnectionError):
        client.sendall(REQUEST.replace(b"status", b"events"))
        if client.recv(10) == b"HTTP/1.1 2":
            return client
    return None


def is_closed(client: socket.socket) -> bool:
    """Wait until the server sends something or closes the connection; return True if it closed it."""
    with suppress(ConnectionResetError):
        return client.recv(1) == b""
    return True


def test_idle_connections_do_not_lock_out_the_owner(
    small_server: WebServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit the oldest connection without the token is closed; one line is logged."""
    # a Jupyter server of an earlier test takes Tornado's records away from the root logger
    monkeypatch.setattr(app_log, "handlers", [caplog.handler])
    monkeypatch.setattr(app_log, "propagate", False)
    monkeypatch.setattr(app_log, "level", logging.WARNING)
    with ExitStack() as stack:
        clients = [connect(small_server, stack) for _ in range(3 * LIMIT)]
        assert small_server.ask("/api/status").status == 200
        assert small_server.ask("/api/status", login=False).status == 403
        assert all(is_closed(client) for client in clients[: 2 * LIMIT])
        assert small_server.ask("/api/status").status == 200
    assert [record.message for record in caplog.records if "connections" in record.message] == [
        "queuectl: all 8 connections are in use; closing those without the token"
    ]


def test_authenticated_connections_are_kept(small_server: WebServer) -> None:
    """A connection that has sent the token is not closed for others; with such connections only, new ones are."""
    with ExitStack() as stack:
        owner = connect(small_server, stack)
        owner.sendall(REQUEST)
        assert owner.recv(100).startswith(b"HTTP/1.1 200 ")
        for _ in range(3 * LIMIT):
            connect(small_server, stack)
        assert small_server.ask("/api/status").status == 200
        owner.sendall(REQUEST)
        assert owner.recv(65536)
        for _ in range(LIMIT - 1):
            other = connect(small_server, stack)
            other.sendall(REQUEST)
            assert other.recv(100).startswith(b"HTTP/1.1 200 ")
        assert is_closed(connect(small_server, stack))
        other.close()

        def answers() -> bool:
            with suppress(ConnectionError):
                return small_server.ask("/api/status").status == 200
            return False

        until(answers)


def test_idle_and_slow_connections_are_closed(queue_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a complete request in time is closed; the event feed stays open."""
    monkeypatch.setattr(web_server, "IDLE_TIMEOUT_S", 0.3)
    server = WebServer(queue_path)
    try:
        with ExitStack() as stack:
            feed = until(lambda: open_feed(server, stack))
            for start in (b"", b"GET /", REQUEST[:-2], REQUEST[:-2] + b"Content-Length: 9\r\n\r\nx"):
                client = connect(server, stack)
                with suppress(ConnectionError):  # it may be closed already
                    client.sendall(start)
                assert is_closed(client), start
            feed.settimeout(0.1)
            with suppress(TimeoutError):
                while True:
                    assert feed.recv(65536), "the feed was closed"
    finally:
        server.close()


def test_the_limit_follows_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are reserved for the queue; if there are too few the error names the remedy."""
    for files, expected in ((1024, 960), (128, 64), (resource.RLIM_INFINITY, 1000), (65536, 1000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert web_server.max_connections() == expected
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(BadEnvironment, match="ulimit -n 256"):
        web_server.max_connections()


def test_too_few_files_for_the_event_loop(queue_path: Path, run: Callable[..., Ran]) -> None:
    """A limit that does not even allow the files of the event loop ends in one line."""
    run("enqueue", "--command", "true")
    command = f"ulimit -n 10; exec {sys.executable} -m queuectl_nb --db {queue_path} dashboard --port 0"
    ran = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == (
        "queuectl: the limit of 10 open files is too low for the web page; raise it, for example: ulimit -n 256\n"
    )


def test_process_with_few_files(queue_path: Path, run: Callable[..., Ran]) -> None:
    """With all its files used by clients without the token, the process answers its owner and writes one line."""
    run("enqueue", "--command", "true")
    log = queue_path.with_name("stderr")
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                f"ulimit -n 100; exec {sys.executable} -m queuectl_nb --db {queue_path} dashboard --port 0",
            ],
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        assert process.stdout is not None
        found = ADDRESS.match(process.stdout.readline().decode().strip())
        assert found
        with ExitStack() as stack:
            for _ in range(150):
                stack.enter_context(socket.create_connection(("127.0.0.1", int(found[1])), 30))
            assert read_counts(int(found[1]), found[2])["pending"] == 1
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
    assert len(log.read_text().splitlines()) == 2, log.read_text()[:2000]
