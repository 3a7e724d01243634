"""Values that the Python API accepts for jobs, timeouts and ages."""

from __future__ import annotations

import datetime as dt
import math
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb import BadEnvironment, BadInput, NotFound, Queue, WaitTimeout
from queuectl_nb.client import arguments
from tests.commands.manual_worker import ManualWorker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_job_arguments(queue: Queue) -> None:
    """Every verb accepts ids, jobs, batches, frames and lists; an empty batch means no jobs, not all jobs."""
    first, batch = queue.enqueue("true", id="a"), queue.enqueue_many([{"command": "true"}] * 3)
    queue.cancel(first, batch[:2], [batch.ids[2]])
    assert {job.state for job in (first, *batch)} == {"cancelled"}
    assert queue.retry(queue.jobs().drop("a")) == batch.ids[::-1]
    assert {job.state for job in batch} == {"pending"}
    assert queue.edit(queue.results(batch).reset_index(names="job_id"), priority=1) == batch.ids
    assert queue.edit(batch[:0], priority=2) == []
    with pytest.raises(WaitTimeout):
        queue.wait(batch, first, timeout=0)
    assert queue.wait(first, timeout=0) == {"cancelled": 1}
    assert queue.wait(batch[:0], timeout=0) == {}
    queue.delete(batch)
    assert queue.wait(timeout=0) == {}
    manual_worker = ManualWorker(queue)
    for name in ("x", "y"):
        manual_worker.add(name, max_retries=1)
        manual_worker.exhaust(name)
    assert queue.retry_dead(queue.job("x")) == ["x"]
    assert queue.purge_dead([queue.job("y")]) == ["y"]


def test_statements_for_a_batch(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is read as a whole, without a statement per job."""
    batch = queue.enqueue_many([{"command": "true"}] * 300)
    asked: list[str] = []
    monkeypatch.setattr(type(queue.store.jobs), "get", lambda _, job_id: asked.append(job_id))
    assert queue.cancel(batch) == batch.ids
    assert queue.wait(batch, timeout=60) == {"cancelled": 300}
    assert asked == []


@pytest.mark.parametrize("verb", ["retry", "retry_dead", "purge_dead", "cancel", "delete", "wait"])
def test_invalid_jobs(queue: Queue, verb: str) -> None:
    """A number, None or bytes is ``BadInput``, an unknown id ``NotFound``; nothing is changed."""
    queue.enqueue("true", id="a")
    for wrong in (3, None, b"a", ["a", 3]):
        with pytest.raises(BadInput, match="expected a job or its id"):
            getattr(queue, verb)(wrong)
    with pytest.raises(NotFound, match="no job nope"):
        getattr(queue, verb)("nope")
    assert queue.job("a").state == "pending"


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "soon", [1], True])
def test_invalid_timeouts(queue: Queue, wrong: Any) -> None:
    """What is not a number of seconds is refused at once: a wait for NaN seconds would never end."""
    job = queue.enqueue("true")
    with pytest.raises(BadInput, match="timeout must be"):
        queue.wait(timeout=wrong)
    with pytest.raises(BadInput, match="timeout must be"):
        job.wait(wrong)
    with pytest.raises(BadInput, match="timeout must be"):
        queue.stop_workers(timeout=wrong)


def test_valid_timeouts(queue: Queue) -> None:
    """A timedelta is a number of seconds; a negative timeout has passed already."""
    assert arguments.parse_timeout(dt.timedelta(minutes=1)) == 60
    assert arguments.parse_timeout(None) is None
    for over in (-1, -0.5, dt.timedelta(seconds=-1)):
        assert arguments.parse_timeout(over) == 0
    job = queue.enqueue("true")
    with pytest.raises(TimeoutError, match="not finished"):
        job.wait(-3)


def test_ages(queue: Queue) -> None:
    """``prune`` accepts seconds, a timedelta and ``7d``; anything else deletes nothing."""
    queue.enqueue("true", id="a")
    queue.cancel("a")
    wrong: list[Any] = [-1, math.nan, "7", "7 days", None, True]
    for each in wrong:
        with pytest.raises(BadInput, match="older_than must be"):
            queue.prune(each)
    assert [queue.prune(each) for each in (60, "7d", dt.timedelta(days=1))] == [0, 0, 0]
    assert queue.prune("0") == 1


def test_errors_name_parameters(queue: Queue, tmp_path: Path) -> None:
    """Errors of the Python API name its parameters; an option of the console at most in brackets behind them."""
    calls: list[Callable[[], object]] = [
        lambda: Queue(""),
        lambda: Queue(tmp_path / "none" / "q.db"),
        lambda: Queue(tmp_path),
        queue.prune,
        queue.retry_dead,
        lambda: queue.backup(__file__),
        lambda: queue.start_workers(scheduler="tcp://10.0.0.1:8786"),
        lambda: queue.enqueue("true", if_absent=True),
        lambda: queue.enqueue("true", key="a", if_absent=True),
    ]
    for call in calls:
        with pytest.raises((BadInput, BadEnvironment)) as caught:
            call()
        assert "--" not in re.sub(r" \(--.*?\)", "", str(caught.value))
    assert queue.jobs().empty


@pytest.mark.parametrize(
    ("value", "ago"),
    [
        ("90m", 5400.0),
        (dt.timedelta(hours=2), 7200.0),
        (lambda: time.time() - 60, 60.0),
        (lambda: dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5), 5.0),
        (lambda: dt.datetime.now(dt.UTC).isoformat(), 0.0),
    ],
)
def test_since(value: Any, ago: float) -> None:
    """Metrics start at a time, or an age ago."""
    made: Callable[[], Any] = value if callable(value) else lambda: value
    assert time.time() - arguments.parse_since("since", made()) == pytest.approx(ago, abs=5)


@pytest.mark.parametrize("wrong", [math.nan, True, -1, "tomorrow", "5 h", b"1h"])
def test_invalid_since(queue: Queue, wrong: Any) -> None:
    """Anything else is refused in one line."""
    with pytest.raises(BadInput, match="since must be"):
        queue.stats(since=wrong)


@pytest.mark.parametrize("odd", [3, None, 1.5, True, b"a", ["a"], {}, object(), math.nan, 10**400])
def test_values_that_are_not_text(queue: Queue, odd: Any) -> None:
    """States, fields, settings, groups, streams and ids that are not text are refused like unknown ones."""
    job = queue.enqueue("true", id="a")
    with pytest.raises(NotFound, match="no job"):
        queue.job(odd)
    for call in (queue.unset, lambda word: queue.set(word, 3)):
        with pytest.raises(BadInput, match=r"setting .* is unknown; valid: max_retries"):
            call(odd)
    if odd is not None:
        with pytest.raises(BadInput, match=r"sort field .* is unknown; valid: id"):
            queue.jobs(sort=odd)
        with pytest.raises(BadInput, match=r"state (is empty|.* is unknown; valid: pending)"):
            queue.jobs(state=odd)
        with pytest.raises(BadInput, match=r"group .* is unknown; valid: command"):
            queue.stats(by=odd)
        with pytest.raises(BadInput, match=r"stream .* is unknown; valid: stdout"):
            job.log(odd)
