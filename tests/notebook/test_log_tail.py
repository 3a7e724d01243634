"""Following a log while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import NotFound
from queuectl_nb.notebook.dashboard.log_feed import INITIAL_BYTES, MAX_BYTES, LogFeed, LogTail, NewOutput
from queuectl_nb.testing import run_pending
from tests.engine.harness import WorkerHarness, until

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.client import Queue


def collect(tail: LogTail, enough: str | None = None) -> list[NewOutput]:
    """Read until the attempt has ended or ``enough`` was read."""
    seen: list[NewOutput] = []

    def over() -> bool:
        seen.append(tail.read_new())
        return seen[-1].end if enough is None else enough in text(seen)

    until(over)
    return seen


def text(seen: list[NewOutput]) -> str:
    """Return all text that was read."""
    return "".join(piece for fresh in seen for _, piece in fresh.chunks)


def test_job_that_has_not_started(queue: Queue) -> None:
    """There is nothing to read, and no error."""
    queue.enqueue("true", id="a")
    assert LogTail(queue, "a").read_new() == NewOutput()


def test_live_output(harness: WorkerHarness, tmp_path: Path) -> None:
    """Both streams are read in pieces; characters cut in two are complete."""
    stop = tmp_path / "stop"
    harness.add(f"printf 'a\\303'; echo err >&2; while [ ! -e {stop} ]; do sleep 0.02; done; printf '\\244b'", id="a")
    harness.start()
    tail = LogTail(harness.queue, "a")
    seen = collect(tail, "err\n")
    assert (seen[-1].number, seen[-1].end) == (1, False)
    seen += [] if "a" in text(seen) else collect(tail, "a")
    stop.touch()
    seen += collect(tail)
    assert sorted(text(seen)) == sorted("aäberr\n")
    assert sum(fresh.new_attempt for fresh in seen) == 1


def test_next_attempt(harness: WorkerHarness) -> None:
    """A retry starts a new attempt from its beginning; a selected attempt stays selected."""
    harness.queue.set("backoff_base", 1)
    harness.add("echo attempt $QUEUECTL_ATTEMPT; exit 1", id="a", max_retries=2)
    first = LogTail(harness.queue, "a", 1)
    tail = LogTail(harness.queue, "a")
    harness.start(drain=True).wait(60)
    assert text(collect(tail)) == "attempt 2\n"
    assert text(collect(first)) == "attempt 1\n"
    assert tail.read_new().outcome == "failed"
    assert tail.read_new().attempts == 2


def test_large_output(harness: WorkerHarness) -> None:
    """Of a large output the end is read, with the number of skipped bytes; each piece is bounded."""
    harness.add("yes 0123456789 | head -c 2000000; echo; echo the end", id="a")
    harness.start(drain=True).wait(60)
    seen = collect(LogTail(harness.queue, "a"))
    assert text(seen).endswith("the end\n")
    assert sum(fresh.skipped for fresh in seen) > 800_000
    assert all(len(piece) <= max(INITIAL_BYTES, MAX_BYTES) for fresh in seen for _, piece in fresh.chunks)


def test_note_says_why_an_attempt_failed(queue: Queue) -> None:
    """The error of the attempt is above its output, since a command may have written nothing."""
    queue.enqueue("exit 3", id="a", max_retries=1)
    run_pending(queue)
    feed = LogFeed(queue)
    feed.select("a")
    assert (feed.message() or {})["note"] == "Attempt 1: exit code 3"


def test_deleted_job(queue: Queue) -> None:
    """Following a job that is deleted raises the named error."""
    queue.enqueue("true", id="a")
    tail = LogTail(queue, "a")
    tail.read_new()
    queue.delete("a")
    with pytest.raises(NotFound):
        tail.read_new()
