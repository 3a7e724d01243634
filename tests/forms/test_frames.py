"""Frames have the contract's columns in their order, and real types, also where they are empty."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from queuectl_nb.model.attempt import ATTEMPT_FIELDS, Ending, Usage
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import State
from queuectl_nb.store.claims import Claims, Ended

if TYPE_CHECKING:
    from queuectl_nb.queue import Queue


def run_one(queue: Queue, *, code: int = 0, result: str | None = None) -> None:
    """Claim the best job and settle it, without a process."""
    claims = Claims(queue.store.db, "worker-1", "here")
    settings, now = queue.settings, time.time()
    (lease,) = claims.turn(want=1, settings=settings, now=now, rand=0).leases
    ending = Ending(now + 2, now + 1, 77, Usage(0.5, 0.25, 4096), stdout=b"\xff", stdout_size=1, result=result)
    claims.turn(ended=[Ended(lease, Exited(code), ending)], settings=settings, now=now + 2, rand=0)


def test_job_columns_are_the_fields_in_order(queue: Queue) -> None:
    """``id`` is the index, the other fields follow in the contract's order, then ``waited`` and ``ran``."""
    frame = queue.jobs()
    assert frame.index.name == "id"
    assert list(frame.columns) == [*JOB_FIELDS[1:], "waited", "ran"]


def test_attempt_columns_are_the_fields_in_order(queue: Queue) -> None:
    """``job_id`` and ``number`` are the index."""
    frame = queue.attempts()
    assert list(frame.index.names) == ["job_id", "number"]
    assert list(frame.columns) == [*ATTEMPT_FIELDS[2:], "waited", "ran"]


def test_types_are_the_same_empty_and_filled(queue: Queue) -> None:
    """An empty queue's frames have the types of a full one's."""
    empty = (queue.jobs().dtypes, queue.attempts().dtypes)
    queue.enqueue("a", tags=["t"], timeout=2.5)
    run_one(queue, result='{"loss": 0.5}')
    queue.enqueue("b")
    assert queue.jobs().dtypes.equals(empty[0])
    assert queue.attempts().dtypes.equals(empty[1])


def test_values_are_python_and_time_types(queue: Queue) -> None:
    """Times are UTC, spans timedeltas, states a category, missing numbers NA, tags lists, results parsed."""
    queue.enqueue("a", id="one", tags=["t"])
    run_one(queue, result='{"loss": 0.5}')
    row = queue.jobs().loc["one"]
    assert str(row["created_at"].tz) == "UTC"
    assert row["ran"] == pd.Timedelta(seconds=1)
    assert row["waited"] >= pd.Timedelta(seconds=1)
    assert row["state"] == "completed"
    assert (row["tags"], row["result"]) == (["t"], {"loss": 0.5})
    assert row["max_retries"] is pd.NA
    attempt = queue.attempts().loc[("one", 1)]
    assert (attempt["stdout"], attempt["max_rss_bytes"], attempt["outcome"]) == ("�", 4096, "succeeded")


def test_status_has_every_state(queue: Queue) -> None:
    """The index is the state, in the usual order, and the column the count."""
    queue.enqueue("a")
    frame = queue.status()
    assert frame.index.name == "state"
    assert list(frame.index) == list(State)
    assert frame.loc["pending", "count"] == 1


def test_stats_is_one_row_or_one_a_group(queue: Queue) -> None:
    """Nested names are flattened; ``by`` is the index."""
    queue.enqueue("a")
    run_one(queue)
    frame = queue.stats()
    assert len(frame) == 1
    assert frame["run_s_p50"][0] == pytest.approx(1.0, abs=0.01)
    by = queue.stats(by="command")
    assert (by.index.name, list(by.index)) == ("command", ["a"])


def test_results_put_parameters_and_results_side_by_side(queue: Queue) -> None:
    """A frame that was enqueued comes back with state, duration, memory and result columns, on its own index."""
    frame = pd.DataFrame({"lr": [0.1, 0.2]}, index=["x", "y"])
    jobs = queue.enqueue_many("train --lr {lr}", frame)
    run_one(queue, result='{"loss": 0.5, "lr": 9}')
    found = queue.results(frame, jobs)
    assert list(found.index) == ["x", "y"]
    assert list(found["lr"]) == [0.1, 0.2]
    assert found.loc["x", "loss"] == 0.5
    assert list(found["state"]) == ["completed", "pending"]
