"""The log in pieces: complete, in order, with whole characters, during and after the attempt."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.state import State
from tests.engine.harness import until

if TYPE_CHECKING:
    from queuectl_nb.client import Queue
    from tests.engine.harness import WorkerHarness
    from tests.web.server import WebServer


def read_log(server: WebServer, target: str, offset: int = 0) -> tuple[str, int]:
    """Read a log to its end; return it with the last offset."""
    text = ""
    deadline = time.monotonic() + 60
    while True:
        piece = server.ask(f"{target}{'&' if '?' in target else '?'}offset={offset}").json
        assert list(piece) == ["text", "offset", "end"]
        assert piece["offset"] >= offset
        text += piece["text"]
        offset = piece["offset"]
        if piece["end"]:
            return text, offset
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_both_streams_of_each_attempt(server: WebServer, harness: WorkerHarness) -> None:
    """Stream and attempt are selectable; the defaults are stdout and the latest attempt."""
    harness.queue.set("backoff_base", "1")
    harness.queue.set("backoff_max", "0")
    harness.add("echo out $QUEUECTL_ATTEMPT; echo err $QUEUECTL_ATTEMPT >&2; exit 1", id="a", max_retries=2)
    harness.start()
    until(lambda: harness.queue.store.reader.counts()[State.DEAD])
    assert read_log(server, "/api/jobs/a/log") == ("out 2\n", 6)
    assert read_log(server, "/api/jobs/a/log?stream=stderr") == ("err 2\n", 6)
    assert read_log(server, "/api/jobs/a/log?stream=stderr&attempt=1") == ("err 1\n", 6)
    assert server.ask("/api/jobs/a/log?offset=3").json == {"text": " 2\n", "offset": 6, "end": True}
    assert server.ask("/api/jobs/a/log?offset=1000").json["end"] is True


def test_follow_a_running_attempt(server: WebServer, harness: WorkerHarness) -> None:
    """A running attempt's log grows and has no end; afterwards the rest and the end follow."""
    release = harness.path.with_name("release")
    harness.add(f"echo first; while [ ! -e {release} ]; do sleep 0.02; done; echo last", id="a")
    assert server.ask("/api/jobs/a/log").json == {"text": "", "offset": 0, "end": False}
    harness.start()
    piece = until(lambda: (response := server.ask("/api/jobs/a/log").json)["text"] and response)
    assert piece == {"text": "first\n", "offset": 6, "end": False}
    assert server.ask("/api/jobs/a/log?offset=6").json == {"text": "", "offset": 6, "end": False}
    release.touch()
    assert read_log(server, "/api/jobs/a/log", 6) == ("last\n", 11)


def test_incomplete_characters(server: WebServer, harness: WorkerHarness) -> None:
    """A partly written character waits for the rest, and offsets remain bytes."""
    release = harness.path.with_name("release")
    wait = f"while [ ! -e {release} ]; do sleep 0.02; done"
    harness.add(f"printf 'a\\360\\237'; {wait}; printf '\\220\\215z'", id="snake")
    harness.start()
    piece = until(lambda: (response := server.ask("/api/jobs/snake/log").json)["text"] and response)
    assert piece == {"text": "a", "offset": 1, "end": False}
    assert server.ask("/api/jobs/snake/log?offset=1").json == {"text": "", "offset": 1, "end": False}
    release.touch()
    assert read_log(server, "/api/jobs/snake/log", 1) == ("🐍z", 6)


def test_invalid_utf8(server: WebServer, harness: WorkerHarness) -> None:
    """Invalid bytes become U+FFFD, including an incomplete character at the end."""
    harness.add("printf 'a\\377b\\0c\\360\\237'", id="raw")
    harness.start()
    until(lambda: harness.queue.store.reader.counts()[State.COMPLETED])
    assert read_log(server, "/api/jobs/raw/log") == ("a\ufffdb\x00c\ufffd", 7)


def test_large_log(server: WebServer, harness: WorkerHarness) -> None:
    """A log of megabytes arrives complete in pieces of bounded size."""
    line = "aé日🐍 " * 50
    job = harness.add(f"i=0; while [ $i -lt 9000 ]; do echo '{line}'; i=$((i+1)); done", id="big", timeout=60)
    harness.queue.set("output_limit", str(16 * 1024 * 1024))
    harness.start()
    job.wait(timeout=60)
    text, offset = read_log(server, "/api/jobs/big/log")
    assert int(server.ask("/api/jobs/big/log", method="HEAD").headers["Log-Size"]) == offset
    assert text == (line + "\n") * 9000
    assert offset == len(text.encode())
    assert len(server.ask("/api/jobs/big/log").body) < 2_000_000


def test_truncated_log(server: WebServer, harness: WorkerHarness) -> None:
    """A stream over the limits has its head, its tail and a note about the missing middle."""
    harness.queue.set("output_limit", "100")
    harness.queue.set("spool_limit", "20000")
    job = harness.add("seq 1 100000", id="long")
    harness.start()
    job.wait(timeout=60)
    text, _ = read_log(server, "/api/jobs/long/log")
    assert text.startswith("1\n2\n")
    assert text.endswith("100000\n")
    assert "not kept" in text


@pytest.mark.parametrize("state", ["pending", "cancelled"])
def test_a_job_that_never_started_has_an_empty_log(server: WebServer, queue: Queue, state: str) -> None:
    """The log of a finished job that never started has an end, so that followers stop."""
    queue.enqueue("true", id="a")
    if state == "cancelled":
        queue.cancel("a")
    assert server.ask("/api/jobs/a/log").json == {"text": "", "offset": 0, "end": state == "cancelled"}
