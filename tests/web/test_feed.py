"""The feed: the state of now at once, then news; for who is slow the newest only."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.web import event_feed
from tests.engine.harness import until
from tests.web.server import TOKEN, WebServer

if TYPE_CHECKING:
    from queuectl_nb.client import Queue


class Listening:
    """A client of the feed that reads when it is told to."""

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
        """Return the fields of the next block of the feed; a comment is the field ``""``."""
        found: dict[str, str] = {}
        while True:
            line = self._line()
            if line == "":
                return found
            name, _, value = line.partition(": ")
            found[name.rstrip(":")] = value

    def _line(self) -> str:
        """Return a line of the body, whose chunks end with lines of ours."""
        while True:
            line = self.file.readline()
            if not line:
                raise EOFError
            text = line.decode().removesuffix("\n")
            if not text.endswith("\r"):
                return text  # else the frame of a chunk

    def event(self, kind: str = "overview") -> tuple[str, Any]:
        """Wait for the next event of a kind; return its id and data."""
        while True:
            block = self.block()
            if block.get("event") == kind:
                return block.get("id", ""), json.loads(block["data"])

    def close(self) -> None:
        """Go."""
        self.file.close()
        self.socket.close()


def test_the_state_of_now_comes_at_once_and_news_follow(server: WebServer, queue: Queue) -> None:
    """The first event is what ``/api/overview`` gives; a change brings another with a new id, within a moment."""
    queue.enqueue("true", id="a")
    client = Listening(server)
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert client.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in client.headers["content-security-policy"]
    assert client.block() == {"retry": "2000"}
    first, overview = client.event()
    told = server.ask("/api/overview").json
    assert {key: value for key, value in overview.items() if key not in ("at", "throughput")} == {
        key: value for key, value in told.items() if key not in ("at", "throughput")
    }
    assert overview["counts"]["pending"] == 1
    queue.cancel("a")
    second, overview = client.event()
    assert overview["counts"]["cancelled"] == 1
    assert second != first
    assert second == "-".join(map(str, queue.store.reader.revision()))
    client.close()


def test_who_comes_back_gets_the_state_of_now(queue: Queue) -> None:
    """After a restart, with whatever id the client saw last, it gets the present state."""
    server = WebServer(queue.path)
    client = Listening(server)
    last, _ = client.event()
    client.close()
    queue.enqueue("true")
    server.restart()
    for seen in (last, "12345-0", "nonsense"):
        client = Listening(server, Last_Event_ID=seen)
        assert client.event()[1]["counts"]["pending"] == 1
        client.close()
    server.close()


def test_silence_is_broken_by_comments(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing changes, a comment comes now and then, so that no proxy takes the line for dead."""
    monkeypatch.setattr(event_feed, "KEEPALIVE_S", 0.1)
    client = Listening(server)
    client.event()
    until(lambda: "" in client.block())
    client.close()


def test_one_watcher_for_all_and_none_for_nobody(server: WebServer) -> None:
    """However many listen the queue is looked at once; when all have gone it is not looked at any more."""
    feed = server.reader.feed  # type: ignore[union-attr]
    clients = [Listening(server)]
    clients[0].event()
    watcher = server.on_loop(lambda: feed._task)
    clients += [Listening(server) for _ in range(4)]
    for client in clients[1:]:
        client.event()
    assert server.on_loop(lambda: feed.clients) == 5
    assert server.on_loop(lambda: feed._task) is watcher
    assert not watcher.done()
    for client in clients:
        client.close()
    until(lambda: server.on_loop(lambda: feed.clients) == 0)
    assert server.on_loop(lambda: feed._task) is None


def test_who_is_slow_finds_the_newest(server: WebServer, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read keeps nobody else waiting, and holds no queue of old news; back, it soon sees now."""
    monkeypatch.setattr(event_feed, "POLL_INTERVAL_S", 0.005)
    slow = Listening(server, buffer=4096)
    quick = Listening(server)
    slow.event()
    for number in range(400):  # some 700 bytes each, more than all buffers on the way hold
        queue.enqueue("true", id=f"j{number}")
        if number % 20 == 0:
            while quick.event()[1]["counts"]["pending"] < number + 1:
                pass
    started = time.monotonic()
    seen = 0
    while slow.event()[1]["counts"]["pending"] < 400:
        seen += 1
    assert seen < 400
    assert time.monotonic() - started < 30
    slow.close()
    quick.close()


def test_a_full_feed_sends_away(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """More clients than it takes are told to poll; a place that is left is given again."""
    monkeypatch.setattr(event_feed, "MAX_CLIENTS", 1)
    first = Listening(server)
    first.event()
    got = server.ask("/api/events")
    assert got.status == 503
    assert "/api/overview" in got.json["error"]
    assert got.headers["Retry-After"] == "30"
    first.close()
    until(lambda: server.on_loop(lambda: server.reader.feed.clients) == 0)  # type: ignore[union-attr]
    second = Listening(server)
    second.event()
    second.close()


def test_trouble_is_told_and_passes(server: WebServer, queue: Queue) -> None:
    """A queue that is gone is an event too, and the feed goes on when there is one again."""
    client = Listening(server)
    client.event()
    hidden = queue.path.with_name("hidden.db")
    queue.close()
    queue.path.rename(hidden)
    assert "deleted" in client.event("trouble")[1]["error"]
    hidden.rename(queue.path)
    client.event()
    client.close()


def test_a_bug_in_a_look_does_not_end_the_feed(
    server: WebServer, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw is told in plain words, logged, and forgotten with the next good look."""
    from queuectl_nb.client.changes import ChangeWatcher

    client = Listening(server)
    client.event()
    with monkeypatch.context() as patch:
        patch.setattr(ChangeWatcher, "overview", lambda _: 1 / 0)
        assert "see its log" in client.event("trouble")[1]["error"]
    queue.enqueue("true")
    assert client.event()[1]["counts"]["pending"] == 1
    client.close()


def test_a_server_that_ends_lets_go_of_its_clients(queue: Queue) -> None:
    """A stop does not wait for those who listen."""
    server = WebServer(queue.path)
    client = Listening(server)
    client.event()
    started = time.monotonic()
    server.close()
    assert time.monotonic() - started < 10
    with pytest.raises(EOFError):
        client.event("the last")
    client.close()
