"""The core of every live view: what changed, and the queue at a glance."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.client.changes import ChangeWatcher, Throughput
from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    from pathlib import Path


class Ends:
    """Stands for the reading side: attempts that ended at given moments."""

    def __init__(self, *ends: tuple[float, bool]) -> None:
        self.ends = list(ends)
        self.asked: list[tuple[float, float]] = []

    def count_finished(self, start: float, end: float, slice_s: float) -> list[tuple[int, bool, int]]:
        """Count as the store does."""
        self.asked.append((start, end))
        return [(int((at - start) // slice_s), ok, 1) for at, ok in self.ends if start <= at < end]


def test_every_write_changes_the_stamp_and_a_look_does_not(queue: Queue, queue_path: Path) -> None:
    """Whoever writes, this thread, another connection or process: the stamp is another one; looking keeps it."""
    watch = ChangeWatcher(queue)
    stamps = [watch.version()]
    other = Queue(queue_path)
    for act in (
        lambda: queue.enqueue("true", id="a"),
        lambda: other.enqueue("true", id="b"),
        queue.pause,
        lambda: other.delete("b"),
        lambda: queue.set("timeout", 5),
    ):
        act()
        assert watch.changed(stamps[-1])
        stamps.append(watch.version())
        watch.overview()
        assert not watch.changed(stamps[-1])
    assert len(set(stamps)) == len(stamps)
    other.close()


def test_the_overview_is_json_and_whole(queue: Queue) -> None:
    """Counts of every state, paused queues, workers and throughput, as JSON has them."""
    queue.enqueue("true")
    queue.pause("slow")
    found = json.loads(json.dumps(ChangeWatcher(queue).overview()))
    assert found["counts"] == {
        "pending": 1, "processing": 0, "failed": 0, "completed": 0, "dead": 0, "cancelled": 0, "blocked": 0
    }  # fmt: skip
    assert (found["paused"], found["workers"]) == (["slow"], [])
    throughput = found["throughput"]
    assert len(throughput["ok"]) == len(throughput["not_ok"]) == 180
    assert throughput["start"] <= found["at"] < throughput["start"] + 180 * throughput["slice_s"] + 1


def test_an_unchanged_overview_is_made_once_for_all(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks twice in a moment gets the same object; a write gives a new one."""
    monkeypatch.setattr("queuectl_nb.client.changes.OVERVIEW_MAX_AGE_S", 1000.0)
    watch = ChangeWatcher(queue)
    first = watch.overview()
    assert watch.overview() is first
    queue.enqueue("true")
    assert watch.overview()["counts"]["pending"] == 1


def test_many_threads_may_ask(queue: Queue) -> None:
    """Threads that ask while another writes all see the end of it, and none fails."""
    watch = ChangeWatcher(queue)
    seen: list[int] = []
    failed: list[BaseException] = []

    def look() -> None:
        try:
            stamp = None
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                if watch.changed(stamp):
                    stamp = watch.version()
                    if (count := watch.overview()["counts"]["pending"]) == 30:
                        seen.append(count)
                        return
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            watch.close()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for each in threads:
        each.start()
    for _ in range(30):
        queue.enqueue("true")
    for each in threads:
        each.join(30)
    assert (seen, failed) == ([30] * 4, [])


def test_a_replaced_file_is_told(queue: Queue, queue_path: Path) -> None:
    """A watch on a file that is gone raises the named error, each time."""
    watch = ChangeWatcher(queue)
    watch.overview()
    queue_path.unlink()
    for look in (watch.version, watch.overview):
        with pytest.raises(BadEnvironment, match="deleted or replaced"):
            look()


def test_throughput_counts_by_slices() -> None:
    """Each end is in its slice, told apart by success; what is over is not counted again, what is late is."""
    ends = Ends((101.0, True), (109.9, False), (110.0, True), (145.0, True))
    through = Throughput(ends, 10.0, 5)  # type: ignore[arg-type]
    assert through.read(149.0) == {"start": 100.0, "slice_s": 10.0, "ok": [1, 1, 0, 0, 1], "not_ok": [1, 0, 0, 0, 0]}
    ends.ends += [(131.0, True), (152.0, False)]
    assert through.read(155.0)["ok"] == [1, 0, 1, 1, 0]
    assert ends.asked == [(100.0, 150.0), (120.0, 160.0)]
    assert through.read(155.0)["not_ok"] == [0, 0, 0, 0, 1]


def test_throughput_begins_anew_when_the_clock_was_set() -> None:
    """A clock that was moved, either way, counts all slices again."""
    ends = Ends((101.0, True), (1001.0, True))
    through = Throughput(ends, 10.0, 5)  # type: ignore[arg-type]
    through.read(1005.0)
    assert through.read(105.0)["ok"] == [0, 0, 0, 0, 1]
    assert through.read(1005.0)["ok"] == [0, 0, 0, 0, 1]
