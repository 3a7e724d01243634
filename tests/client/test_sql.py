"""``Queue.db``: the file for a user's own queries, from any thread and after a fork."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from queuectl_nb import BadEnvironment

if TYPE_CHECKING:
    from queuectl_nb import Queue


def test_connection_per_thread(queue: Queue) -> None:
    """Each thread keeps its own connection, which is opened again after a close."""
    queue.enqueue("true", id="a")
    found: list[object] = []

    def ask() -> None:
        found.append(queue.db["job_view"].count)
        found.append(queue.db)
        queue.close()

    assert queue.db is queue.db
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(60)
    assert found[0] == 1
    assert found[1] is not queue.db
    queue.close()
    assert [row["id"] for row in queue.db.query("SELECT id FROM job_view")] == ["a"]


def _ask(queue: Queue, answers: multiprocessing.Queue[int]) -> None:
    answers.put(queue.db["job_view"].count)
    queue.close()
    answers.put(queue.db["job_view"].count)


def test_connection_after_a_fork(queue: Queue) -> None:
    """The parent's connection is neither used nor closed by the child."""
    queue.enqueue("true")
    mine = queue.db
    assert mine["job_view"].count == 1
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_ask, args=(queue, answers))
    child.start()
    assert [answers.get(timeout=60), answers.get(timeout=60)] == [1, 1]
    child.join(60)
    queue.enqueue("true")
    assert (queue.db, mine["job_view"].count) == (mine, 2)


def test_missing_file(queue: Queue) -> None:
    """A query of a deleted file raises and creates no file."""
    queue.path.unlink()
    with pytest.raises(BadEnvironment):
        _ = queue.db
    assert not queue.path.exists()


def test_file_that_cannot_be_opened(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one of this package, with a remedy."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *_, **__: connect("/nonexistent/queue.db"))
    with pytest.raises(BadEnvironment, match="cannot be opened; check permissions"):
        _ = queue.db
    monkeypatch.undo()
    assert queue.db["job_view"].count == 0
