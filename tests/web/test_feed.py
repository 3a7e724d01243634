"""The event feed: the current state first, then changes; slow clients receive the latest state only."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.web import event_feed
from tests.engine.harness import until
from tests.web.server import TOKEN, WebServer

if TYPE_CHECKING:
    from queuectl_nb.client import Queue


class FeedClient:
    """A client of the feed that reads on request."""

    def __init__(self, server: WebServer, buffer: int | None = None, **headers: str) -> None:
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", server.port))
        lines = ["GET /api/events HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Authorization: Bearer {TOKEN}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value

    def block(self) -> dict[str, str]:
        """Return the fields of the next block; a comment is the field ``""``."""
        found: dict[str, str] = {}
        while True:
            line = self._line()
            if line == "":
                return found
            name, _, value = line.partition(": ")
            found[name.rstrip(":")] = value

    def _line(self) -> str:
        """Return a line of the body without the frame of the chunks."""
        while True:
            line = self.file.readline()
            if not line:
                raise EOFError
            text = line.decode().removesuffix("\n")
            if not text.endswith("\r"):
                return text  # else the frame of a chunk

    def event(self, kind: str = "overview") -> tuple[str, Any]:
        """Wait for the next event of this kind; return its id and data."""
        while True:
            block = self.block()
            if block.get("event") == kind:
                return block.get("id", ""), json.loads(block["data"])

    def close(self) -> None:
        """Disconnect."""
        self.file.close()
        self.socket.close()


def test_current_state_then_changes(server: WebServer, queue: Queue) -> None:
    """The first event equals ``/api/overview``; each change sends another event with a new id."""
    queue.enqueue("true", id="a")
    client = FeedClient(server)
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert client.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in client.headers["content-security-policy"]
    assert client.block() == {"retry": "2000"}
    first, overview = client.event()
    expected = server.ask("/api/overview").json
    assert {key: value for key, value in overview.items() if key not in ("at", "throughput")} == {
        key: value for key, value in expected.items() if key not in ("at", "throughput")
    }
    assert overview["counts"]["pending"] == 1
    queue.cancel("a")
    second, overview = client.event()
    assert overview["counts"]["cancelled"] == 1
    assert second != first
    assert second == "-".join(map(str, queue.store.db.revision()))
    client.close()


def test_reconnect(queue: Queue) -> None:
    """A reconnecting client receives the current state, whatever its last event id."""
    server = WebServer(queue.path)
    client = FeedClient(server)
    last, _ = client.event()
    client.close()
    queue.enqueue("true")
    server.restart()
    for seen in (last, "12345-0", "nonsense"):
        client = FeedClient(server, Last_Event_ID=seen)
        assert client.event()[1]["counts"]["pending"] == 1
        client.close()
    server.close()


def test_heartbeat(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without changes an event is sent regularly: proxies keep the connection, and the page notices a dead one."""
    assert event_feed.HEARTBEAT_S == 15
    monkeypatch.setattr(event_feed, "HEARTBEAT_S", 0.1)
    client = FeedClient(server)
    client.event()
    for _ in range(2):
        assert client.event("heartbeat") == ("", {})
    client.close()


def test_one_poller_for_all_clients(server: WebServer) -> None:
    """One task polls for all clients; it stops when the last client disconnects."""
    feed = server.reader.feed  # type: ignore[union-attr]
    clients = [FeedClient(server)]
    clients[0].event()
    watcher = server.run_on_loop(lambda: feed._task)
    clients += [FeedClient(server) for _ in range(4)]
    for client in clients[1:]:
        client.event()
    assert server.run_on_loop(lambda: feed.clients) == 5
    assert server.run_on_loop(lambda: feed._task) is watcher
    assert not watcher.done()
    for client in clients:
        client.close()
    until(lambda: server.run_on_loop(lambda: feed.clients) == 0)
    assert server.run_on_loop(lambda: feed._task) is None


def test_slow_client(server: WebServer, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow client delays nobody and receives the latest state instead of all events."""
    monkeypatch.setattr(event_feed, "POLL_INTERVAL_S", 0.005)
    slow = FeedClient(server, buffer=4096)
    quick = FeedClient(server)
    slow.event()
    for number in range(400):  # some 700 bytes each, more than all buffers on the way hold
        queue.enqueue("true", id=f"j{number}")
        if number % 20 == 0:
            while quick.event()[1]["counts"]["pending"] < number + 1:
                pass
    seen = 0
    while slow.event()[1]["counts"]["pending"] < 400:
        seen += 1
    assert seen < 400
    slow.close()
    quick.close()


def test_full_feed(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients over the limit get 503 and are referred to polling."""
    monkeypatch.setattr(event_feed, "MAX_CLIENTS", 1)
    first = FeedClient(server)
    first.event()
    response = server.ask("/api/events")
    assert response.status == 503
    assert "/api/overview" in response.json["error"]
    assert response.headers["Retry-After"] == "30"
    first.close()
    until(lambda: server.run_on_loop(lambda: server.reader.feed.clients) == 0)  # type: ignore[union-attr]
    second = FeedClient(server)
    second.event()
    second.close()


def test_trouble_event(server: WebServer, queue: Queue) -> None:
    """A missing queue is an event; the feed recovers when the queue is back."""
    client = FeedClient(server)
    client.event()
    hidden = queue.path.with_name("hidden.db")
    queue.close()
    queue.path.rename(hidden)
    assert "no queue at" in client.event("trouble")[1]["error"]
    hidden.rename(queue.path)
    client.event()
    client.close()


def test_unexpected_error_does_not_end_the_feed(
    server: WebServer, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is reported without details, and the feed recovers."""
    from queuectl_nb.client.changes import ChangeWatcher

    client = FeedClient(server)
    client.event()
    with monkeypatch.context() as patch:
        patch.setattr(ChangeWatcher, "overview", lambda _: 1 / 0)
        assert "see its log" in client.event("trouble")[1]["error"]
    queue.enqueue("true")
    assert client.event()[1]["counts"]["pending"] == 1
    client.close()


def test_shutdown_disconnects_clients(queue: Queue) -> None:
    """Stopping the server does not wait for its clients."""
    server = WebServer(queue.path)
    client = FeedClient(server)
    client.event()
    server.close()
    with pytest.raises(EOFError):
        client.event("the last")
    client.close()
