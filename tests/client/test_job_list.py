"""The list under all tables: windows, stable orders, searches in the background."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.client.changes import ChangeWatcher
from queuectl_nb.client.job_list import HEAD_ROWS, JobList, Window
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.job_lists import JobOrder, QueryStopped
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from queuectl_nb.client import Queue


class Reader:
    """A reader of a list."""

    def __init__(self, queue: Queue) -> None:
        self.found = threading.Event()
        self.list = JobList(ChangeWatcher(queue), self.found.set)

    def see(self, first: int = 0, count: int = 5, *, top: bool = True) -> Window:
        """Return the window, once nothing is being searched for any more."""

        def look() -> Window | None:
            window = self.list.window(first, count, top=top)
            return None if window.searching else window

        found: Window = until(look)
        return found

    def ids(self, **where: Any) -> list[str]:
        """Return the ids of a window."""
        return ids(self.see(**where))


def ids(window: Window) -> list[str]:
    """Return the ids of the jobs of a window that was found."""
    assert window.jobs is not None
    return [job.id for job in window.jobs]


@pytest.fixture
def reader(queue: Queue) -> Iterator[Reader]:
    """Return a reader of a queue with the jobs j0 to j9."""
    for number in range(10):
        queue.enqueue(f"echo {9 - number}", id=f"j{number}", priority=number % 3)
    found = Reader(queue)
    yield found
    found.list.close()


def test_head_is_live(queue: Queue, reader: Reader) -> None:
    """The head shows the most recently changed first, and needs no background search."""
    assert reader.ids() == ["j9", "j8", "j7", "j6", "j5"]
    queue.cancel("j3")
    window = reader.list.window(0, 3, top=True)
    assert (ids(window), window.frozen_at, window.total) == (["j3", "j9", "j8"], None, 10)


def test_order_is_stable_below_the_head(queue: Queue, reader: Reader) -> None:
    """Further down the rows stay, with current fields; back at the head the list is live again."""
    assert reader.ids(first=3, top=False) == ["j6", "j5", "j4", "j3", "j2"]
    queue.cancel("j5")
    queue.enqueue("true", id="new")
    window = reader.see(first=3, top=False)
    assert [(job.id, str(job.state)) for job in window.jobs or ()][:2] == [("j6", "pending"), ("j5", "cancelled")]
    assert window.frozen_at is not None
    assert reader.ids(count=3) == ["new", "j5", "j9"]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Filter(state=("cancelled",)), ["j1"]),
        (Filter(sort="command"), ["j9", "j8", "j7"]),
        (Filter(sort="priority", reverse=True), ["j8", "j5", "j2"]),
        (Filter(search="ECHO 2"), ["j7"]),
        (Filter(search="j4"), ["j4"]),
        (Filter(search="nothing has this"), []),
        (Filter(reverse=True), ["j0", "j2", "j3"]),
    ],
)
def test_filters_and_orders(queue: Queue, reader: Reader, wanted: Filter, ids: list[str]) -> None:
    """Each state, text and field, in both directions, gives the result of ``list``."""
    queue.cancel("j1")
    reader.list.set_filter(wanted)
    assert reader.ids(count=3) == ids
    assert reader.see().total == queue.store.reader.count(wanted)


def test_every_field_sorts(queue: Queue, reader: Reader) -> None:
    """Each JSON field can be sorted by in both directions, as ``list`` does."""
    for field in JOB_FIELDS:
        for reverse in (False, True):
            reader.list.set_filter(Filter(sort=field, reverse=reverse))
            assert reader.ids(count=10) == [
                job.id for job in queue.store.reader.jobs(Filter(sort=field, reverse=reverse))
            ]


def test_changes_in_a_sorted_list(queue: Queue, reader: Reader) -> None:
    """New jobs appear in a sorted list, and deleted ones disappear."""
    reader.list.set_filter(Filter(sort="id"))
    assert reader.ids(count=2) == ["j0", "j1"]
    queue.enqueue("true", id="a")
    until(lambda: reader.ids(count=2) == ["a", "j0"])
    queue.delete("a")
    until(lambda: reader.ids(count=2) == ["j0", "j1"])


def test_slow_orders_are_refreshed_less_often(queue: Queue, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow order is kept for some time, marked as outdated."""
    monkeypatch.setattr("queuectl_nb.client.job_list.REORDER_COST_FACTOR", 1e9)
    reader.list.set_filter(Filter(sort="id"))
    assert reader.ids(count=1) == ["j0"]
    queue.enqueue("true", id="a")
    assert reader.ids(count=1) == ["j0"]
    assert reader.list.outdated
    monkeypatch.setattr("queuectl_nb.client.job_list.REORDER_COST_FACTOR", 0)
    until(lambda: reader.ids(count=1) == ["a"])
    assert not reader.list.outdated


def test_distant_window(queue: Queue) -> None:
    """Beyond the head the order is determined once, in a thread, and then any window is available."""
    queue.enqueue_many([{"command": "true", "id": f"n{number:04}"} for number in range(HEAD_ROWS + 300)])
    reader = Reader(queue)
    assert reader.ids(first=HEAD_ROWS + 100, count=2, top=False) == ["n0199", "n0198"]
    window = reader.list.window(HEAD_ROWS + 298, 50, top=False)
    assert (ids(window), window.searching) == (["n0001", "n0000"], False)


def test_search_does_not_block(queue: Queue, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads return at once during a search; another request ends it."""
    ended = threading.Event()

    def slow(self: JobOrder, wanted: Filter, stop: Callable[[], bool]) -> Any:
        while not stop():
            time.sleep(0.005)
        ended.set()
        raise QueryStopped

    with monkeypatch.context() as patch:
        patch.setattr(JobOrder, "read_order", slow)
        reader.list.set_filter(Filter(sort="command"))
        assert reader.list.window(0, 5, top=True).searching
        assert reader.list.window(0, 5, top=True).searching
        reader.list.set_filter(Filter())
        assert reader.ids(count=1) == ["j9"]
        assert ended.wait(60)


def test_obsolete_search_is_interrupted(queue: Queue) -> None:
    """SQLite is interrupted while it determines an obsolete order."""
    queue.enqueue_many([{"command": f"echo {number}"} for number in range(5000)])
    with pytest.raises(QueryStopped):
        JobOrder(queue.store.db).read_order(Filter(sort="command"), lambda: True)
    assert len(JobOrder(queue.store.db).read_order(Filter(sort="command"), lambda: False)) == 5000


def test_search_error(queue: Queue, queue_path: Path, reader: Reader) -> None:
    """An error during a search is raised by the next read."""
    reader.list.set_filter(Filter(sort="command"))
    queue_path.unlink()
    with pytest.raises(BadEnvironment, match="deleted or replaced"):
        reader.see()
