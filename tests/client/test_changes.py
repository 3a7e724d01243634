"""The basis of live views: the change stamp and the overview."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.client.changes import ChangeWatcher, Throughput
from queuectl_nb.model.errors import BadEnvironment
from tests.engine.harness import in_threads

if TYPE_CHECKING:
    from pathlib import Path


class FakeCounts:
    """Counts attempts that ended at given times."""

    def __init__(self, *ends: tuple[float, str]) -> None:
        self.ends = list(ends)
        self.asked: list[tuple[float, float]] = []

    def __call__(self, *, start: float, end: float, slice_s: float) -> list[tuple[int, str, int]]:
        """Count as the store does."""
        self.asked.append((start, end))
        return [(int((at - start) // slice_s), outcome, 1) for at, outcome in self.ends if start <= at <= end]


def test_stamp(queue: Queue, queue_path: Path) -> None:
    """A write by this thread, another connection or process changes the stamp; reading does not."""
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
        assert watch.version() != stamps[-1]
        stamps.append(watch.version())
        watch.overview()
        assert watch.version() == stamps[-1]
    assert len(set(stamps)) == len(stamps)
    other.close()


def test_overview(queue: Queue) -> None:
    """Counts of every state, paused queues, workers and throughput, as in the JSON."""
    queue.enqueue("true")
    queue.pause("slow")
    found = json.loads(json.dumps(ChangeWatcher(queue).overview()))
    assert found["counts"] == {
        "pending": 1, "processing": 0, "failed": 0, "completed": 0, "dead": 0, "cancelled": 0, "blocked": 0
    }  # fmt: skip
    assert (found["paused"], found["workers"]) == (["slow"], [])
    throughput = found["throughput"]
    assert {len(throughput[name]) for name in ("succeeded", "failed", "stopped")} == {180}
    assert throughput["start"] <= found["at"] < throughput["start"] + 180 * throughput["slice_s"] + 1


def test_overview_is_cached(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a write the same object is returned; a write gives a new one."""
    monkeypatch.setattr("queuectl_nb.client.changes.OVERVIEW_MAX_AGE_S", 1000.0)
    watch = ChangeWatcher(queue)
    first = watch.overview()
    assert watch.overview() is first
    queue.enqueue("true")
    assert watch.overview()["counts"]["pending"] == 1


def test_overview_from_many_threads(queue: Queue) -> None:
    """Threads that read during writes all see the last one, and none fails."""
    watch = ChangeWatcher(queue)
    seen: list[int] = []
    failed: list[BaseException] = []

    def read() -> None:
        try:
            stamp = None
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                if watch.version() != stamp:
                    stamp = watch.version()
                    if (count := watch.overview()["counts"]["pending"]) == 30:
                        seen.append(count)
                        return
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            watch.close()

    with in_threads(*[read] * 4):
        for _ in range(30):
            queue.enqueue("true")
    assert (seen, failed) == ([30] * 4, [])


def test_replaced_file(queue: Queue, queue_path: Path) -> None:
    """A missing file raises the named error at each read."""
    watch = ChangeWatcher(queue)
    watch.overview()
    queue_path.unlink()
    for read in (watch.version, watch.overview):
        with pytest.raises(BadEnvironment, match="deleted or replaced"):
            read()


def test_throughput() -> None:
    """Each attempt is counted in its slice by outcome; past slices are not counted again, late results are.

    An attempt that was returned to the queue or cancelled is no failure.
    """
    ends = FakeCounts((101.0, "succeeded"), (109.9, "lost"), (110.0, "succeeded"), (145.0, "succeeded"))
    through = Throughput(ends, 10.0, 5)
    assert through.read(149.0) == {
        "start": 100.0,
        "slice_s": 10.0,
        "succeeded": [1, 1, 0, 0, 1],
        "failed": [1, 0, 0, 0, 0],
        "stopped": [0, 0, 0, 0, 0],
    }
    ends.ends += [(131.0, "succeeded"), (152.0, "timed_out"), (153.0, "returned"), (154.0, "cancelled")]
    assert through.read(155.0)["succeeded"] == [1, 0, 1, 1, 0]
    assert ends.asked == [(100.0, 150.0), (120.0, 160.0)]
    assert through.read(155.0)["failed"] == [0, 0, 0, 0, 1]
    assert through.read(155.0)["stopped"] == [0, 0, 0, 0, 2]


def test_throughput_after_a_clock_change() -> None:
    """If the clock is changed in either direction, all slices are counted again."""
    ends = FakeCounts((101.0, "succeeded"), (1001.0, "succeeded"))
    through = Throughput(ends, 10.0, 5)
    through.read(1005.0)
    assert through.read(105.0)["succeeded"] == [0, 0, 0, 0, 1]
    assert through.read(1005.0)["succeeded"] == [0, 0, 0, 0, 1]
