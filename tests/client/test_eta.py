"""The estimated time left: what is known of a queue, and its line of text."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.eta import Eta, read_eta
from queuectl_nb.store.eta import RECENT_ATTEMPTS
from tests.client.history_factory import Attempt, insert_history

if TYPE_CHECKING:
    from queuectl_nb.client import Queue


@pytest.fixture
def served(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Return a queue with two workers that run nothing, and ten runs of ``sim`` of a minute each."""
    monkeypatch.setattr("queuectl_nb.client.eta.is_dead", lambda *_: False)
    register(queue, 2)
    now = time.time()
    insert_history(queue, [Attempt("old", now - 60 * n - 60, now - 60 * n, command=f"sim --n {n}") for n in range(10)])
    return queue


def register(queue: Queue, count: int, *queues: str) -> None:
    """Register workers."""
    queue.store.workers.register(
        lambda _name: True, count=count, pool=os.getpid(), host="here", queues=queues, now=time.time()
    )


def minutes(eta: Eta) -> float:
    """Return the middle in minutes."""
    assert eta.mid is not None, eta.reason
    return eta.mid / 60


def test_same_work(served: Queue) -> None:
    """Jobs of the same template take as long as the finished ones; selections and batches work as elsewhere."""
    assert str(served.eta()) == ""
    batch = served.enqueue_many("sim --n {n}", [{"n": n} for n in range(8)], tags=["sweep"])
    served.enqueue_many("sim --n {n}", [{"n": n} for n in range(20, 28)])
    assert minutes(served.eta()) == pytest.approx(8, rel=0.05)
    assert minutes(served.eta(tag="sweep")) == pytest.approx(4, rel=0.05)
    assert minutes(batch.eta()) == pytest.approx(4, rel=0.05)
    assert minutes(served.eta(batch[:2])) == pytest.approx(1, rel=0.05)
    assert served.eta(tag="none") == Eta()


def test_work_of_long_ago(served: Queue) -> None:
    """However many other jobs have finished since, jobs that were enqueued beside the waiting ones are known."""
    now = time.time()
    with served.store.db.write() as connection:
        connection.execute("DELETE FROM jobs")
    others = [Attempt("other", now - 2, now - 1, command="quick") for _ in range(RECENT_ATTEMPTS)]
    sweep = [Attempt("old", now - 7260 - n, now - 7200 - n, command=f"sim --n {n}") for n in range(10)]
    insert_history(served, [*sweep[:5], *others, *sweep[5:]])
    served.enqueue_many("sim --n {n}", [{"n": n} for n in range(8)])
    assert minutes(served.eta()) == pytest.approx(4, rel=0.05)
    served.enqueue("unlike")
    assert served.eta().reason.startswith("no job like job-")


def test_unknown(served: Queue) -> None:
    """The line says what is missing."""
    served.enqueue("other 3", id="other")
    assert str(served.eta()) == "Time left is unknown: no job like other has finished yet"
    served.enqueue("sim --n 3", queue="gpu", id="gpu")
    served.pause("gpu")
    assert str(served.eta("gpu")) == "Time left is unknown: queue gpu is paused"
    served.pause()
    assert served.eta().reason == "all queues are paused"
    assert served.eta().to_json() is None


def test_queues_without_workers(served: Queue) -> None:
    """Jobs wait for a worker of their queue."""
    served.enqueue("sim --n 3", queue="gpu", id="gpu")
    with served.store.db.write() as connection:
        connection.execute("UPDATE workers SET queues = '[\"default\"]'")
    assert served.eta().reason == "no worker serves queue gpu"
    with served.store.db.write() as connection:
        connection.execute("DELETE FROM workers")
    assert served.eta().reason == "no workers are running"


def test_many_jobs(served: Queue) -> None:
    """Of many jobs a sample is read; the estimate of ten thousand has an error of a few percent."""
    batch = served.enqueue_many("sim --n {n}", [{"n": n} for n in range(10_000)])
    assert minutes(served.eta()) == pytest.approx(5000, rel=0.1)
    assert minutes(batch.eta()) == pytest.approx(5000, rel=0.1)
    rows = read_eta(served.store)
    assert rows.low is not None
    assert rows.high is not None
    assert rows.low < 5000 * 60 < rows.high


def test_text() -> None:
    """The unit suits the middle; equal ends are left out."""
    assert str(Eta(660, 840, 1140)) == "About 14 min left (11 to 19 min)"
    assert str(Eta(39, 40, 81)) == "About 40 s left (39 to 81 s)"
    assert str(Eta(0.4, 2, 52_100)) == "About 2 s left (0 s to 14 h)"
    assert str(Eta(0, 0.2, 2200)) == "Less than 1 s left (up to 37 min)"
    assert str(Eta(7000, 7300, 10_000)) == "About 2 h left (2 to 3 h)"
    assert str(Eta(0.1, 0.2, 0.3)) == "Less than 1 s left"
    assert str(Eta()) == ""
