"""DataFrames have the documented columns in order, with real types, also when they are empty."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pandas as pd
import pytest

from queuectl_nb import BadEnvironment
from queuectl_nb.model.attempt import ATTEMPT_FIELDS, Ending, Usage
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import State
from queuectl_nb.model.times import format_time
from queuectl_nb.render.json_shapes import WORKER_FIELDS, job_json
from queuectl_nb.store import bulk_export
from queuectl_nb.store.bulk_export import JobColumns
from queuectl_nb.store.claims import Claims, EndedAttempt
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from queuectl_nb.client import Queue


def run_one(queue: Queue, *, code: int = 0, result: str | None = None) -> None:
    """Claim the best job and settle it, without a process."""
    claims = Claims(queue.store.db, "worker-1", "here")
    settings, now = queue.settings, time.time()
    (lease,) = claims.settle_and_claim(limit=1, settings=settings, now=now, rand=0).leases
    ending = Ending(now + 2, now + 1, 77, usage=Usage(0.5, 0.25, 4096), stdout=b"\xff", stdout_size=1, result=result)
    claims.settle_and_claim(ended=[EndedAttempt(lease, Exited(code), ending)], settings=settings, now=now + 2, rand=0)


def test_job_columns_are_the_fields_in_order(queue: Queue) -> None:
    """``id`` is the index; the other fields follow in order, then ``waited`` and ``ran``."""
    frame = queue.jobs()
    assert frame.index.name == "id"
    assert list(frame.columns) == [*JOB_FIELDS[1:], "waited", "ran"]


def test_attempt_columns_are_the_fields_in_order(queue: Queue) -> None:
    """``job_id`` and ``number`` are the index."""
    frame = queue.attempts()
    assert list(frame.index.names) == ["job_id", "number"]
    assert list(frame.columns) == [*ATTEMPT_FIELDS[2:], "waited", "ran"]


def test_types_are_the_same_empty_and_filled(queue: Queue) -> None:
    """The frames of an empty queue have the types of a full one."""
    empty = (queue.jobs().dtypes, queue.attempts().dtypes)
    queue.enqueue("a", tags=["t"], timeout=2.5)
    run_one(queue, result='{"loss": 0.5}')
    queue.enqueue("b")
    assert queue.jobs().dtypes.equals(empty[0])
    assert queue.attempts().dtypes.equals(empty[1])


def test_values_are_python_and_time_types(queue: Queue) -> None:
    """Times are UTC, durations timedeltas, states categorical, missing numbers NA, tags lists, results parsed."""
    queue.enqueue("a", id="one", tags=["t"])
    run_one(queue, result='{"loss": 0.5}')
    row = queue.jobs().loc["one"]
    assert str(row["created_at"].tz) == "UTC"
    assert row["ran"] == pd.Timedelta(seconds=1)
    assert row["waited"] >= pd.Timedelta(seconds=1)
    assert row["state"] == "completed"
    assert (row["tags"], row["result"]) == (["t"], {"loss": 0.5})
    assert row["max_retries"] is pd.NA
    (attempt,) = queue.attempts().to_dict("records")
    assert (attempt["stdout"], attempt["max_rss_bytes"], attempt["outcome"]) == ("�", 4096, "succeeded")


def test_status_has_every_state(queue: Queue) -> None:
    """The index is the state in the usual order, the column the count."""
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


JOB_TYPES = (
    dict.fromkeys(("command", "queue", "cwd", "error", "worker", "kind", "key", "result_repr"), "string")
    | dict.fromkeys(("priority", "attempts", "max_retries", "exit_code"), "Int64")
    | dict.fromkeys(("run_at", "created_at", "updated_at", "started_at", "finished_at"), "datetime64[ms, UTC]")
    | dict.fromkeys(("tags", "after", "result", "metrics"), "object")
    | dict.fromkeys(("waited", "ran"), "timedelta64[us]")
    | {"state": "category", "timeout": "Float64", "progress": "Float64"}
)


@pytest.mark.parametrize("filled", [False, True])
def test_each_column_of_jobs_has_its_type(queue: Queue, *, filled: bool) -> None:
    """Every column has its documented type with or without jobs; the category has all states."""
    if filled:
        queue.enqueue("a")
    frame = queue.jobs()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == JOB_TYPES
    assert list(frame["state"].cat.categories) == list(State)
    assert (str(frame.index.dtype), len(frame)) == ("string", int(filled))


def test_errors_of_many_jobs(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that differ in their errors only are parsed once."""
    queue.enqueue_many([{"command": "true"}] * 50)
    with queue.store.db.write() as connection:
        connection.execute("UPDATE jobs SET error = 'no file ' || seq WHERE seq > 1")
    parse = Mock(side_effect=JobColumns.parse_shared)
    monkeypatch.setattr(JobColumns, "parse_shared", parse)
    errors = queue.jobs(sort="created_at")["error"]
    assert errors.isna().sum() == 1
    assert set(errors.dropna()) == {f"no file {number}" for number in range(2, 51)}
    parse.assert_called_once()


def test_other_frames_have_types_when_empty(queue: Queue) -> None:
    """Attempts, workers and grouped metrics have their types without rows."""
    attempts = queue.attempts().dtypes.astype(str)
    assert attempts["outcome"] == "category"
    assert (attempts["pid"], attempts["user_cpu_s"]) == ("Int64", "Float64")
    assert (attempts["started_at"], attempts["ran"]) == ("datetime64[ms, UTC]", "timedelta64[us]")
    workers = queue.workers()
    assert (workers.index.name, list(workers.columns)) == ("name", list(WORKER_FIELDS[1:]))
    assert workers.dtypes.astype(str)["started_at"] == "datetime64[ms, UTC]"
    stats = queue.stats(by="tag")
    assert (stats.index.name, len(stats)) == ("tag", 0)
    assert stats.dtypes.astype(str)["counts_dead"] == "Int64"


def as_json(name: str, value: Any) -> Any:
    """Return a frame's value as in the JSON."""
    if name in ("tags", "after", "result"):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    return format_time(value.timestamp()) if isinstance(value, pd.Timestamp) else value


def test_frame_equals_json(queue: Queue) -> None:
    """The frame has the values of the JSON in the order of the list."""
    queue.enqueue("a", id="one", tags=["t", "u"], timeout=1 / 3, max_retries=9, cwd="/", priority=2**62)
    queue.enqueue("b", id="two", after="one", queue="gpu")
    queue.enqueue("it's {}\n'é🐍", id="three", max_retries=1, priority=2**62)
    run_one(queue, result='{"loss": [1, {"x": null}]}')
    run_one(queue, code=3)
    queue.enqueue("c", id="four", tags=["t", "u"])
    frame = queue.jobs()
    wanted = [job_json(record) for record in queue.store.reader.jobs(Filter.from_options())]
    assert list(frame.index) == [job["id"] for job in wanted]
    found = [
        {"id": job_id} | {name: as_json(name, row[name]) for name in JOB_FIELDS[1:]} for job_id, row in frame.iterrows()
    ]
    assert found == wanted


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reverse": True},
        {"limit": 3},
        {"limit": 3, "reverse": True},
        {"sort": "priority"},
        {"sort": "priority", "reverse": True, "limit": 4},
        {"state": "pending"},
        {"state": "cancelled", "limit": 1},
        {"queue": "gpu"},
        {"tag": "odd"},
        {"search": "1"},
        {"search": "no such"},
    ],
    ids=str,
)
def test_filters_and_order(queue: Queue, options: dict[str, Any]) -> None:
    """With any filter and sort, a frame has the rows of the list in order."""
    queue.enqueue_many(
        {
            "command": f"run {index}",
            "priority": index % 3,
            "queue": "gpu" if index % 4 else "default",
            "tags": ["odd"] if index % 2 else [],
        }
        for index in range(12)
    )
    queue.cancel("job-3", "job-9")
    queue.cancel("job-5")
    assert list(queue.jobs(**options).index) == [
        job.id for job in queue.store.reader.jobs(Filter.from_options(**options))
    ]


def test_frame_from_many_pieces(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read in pieces without visible boundaries, and each row has its own lists."""
    monkeypatch.setattr(bulk_export, "CHUNK_ROWS", 4)
    queue.enqueue_many([{"command": f"run {index}", "tags": ["a"]} for index in range(10)])
    for sort in (None, "id"):
        frame = queue.jobs(sort=sort)
        assert sorted(frame["command"]) == sorted(f"run {index}" for index in range(10))
        frame["tags"].iloc[0].append("b")
        frame["after"].iloc[0].append("c")
        assert sum(len(each) for each in frame["tags"]) == 11
        assert sum(len(each) for each in frame["after"]) == 1


def test_waited_and_ran(queue: Queue) -> None:
    """A pending retry does not change the wait of the last attempt; a running one ran until now."""
    queue.enqueue("false", id="again", max_retries=2)
    run_one(queue, code=1)
    row = queue.jobs().loc["again"]
    assert row["state"] == "failed"
    assert row["run_at"] > row["started_at"]
    assert pd.Timedelta(seconds=1) <= row["waited"] < pd.Timedelta(minutes=1)
    assert row["ran"] == pd.Timedelta(seconds=1)
    queue.enqueue("sleep 9", id="runs")
    claims = Claims(queue.store.db, "worker-1", "here")
    claims.settle_and_claim(limit=1, settings=queue.settings, now=time.time() - 5, rand=0)
    assert queue.jobs()["ran"]["runs"] >= pd.Timedelta(seconds=5)
    assert queue.attempts()["ran"]["runs", 1] >= pd.Timedelta(seconds=5)


def test_job_without_attempts(queue: Queue) -> None:
    """Unknown durations are NaT."""
    queue.enqueue("true", id="new")
    assert queue.jobs().loc["new", ["waited", "ran"]].isna().all()


def test_settings(queue: Queue) -> None:
    """The index is ``key``; the columns are value, default and meaning."""
    queue.set("timeout", 5)
    from queuectl_nb.render.frames import frames

    frame = frames.settings(queue.settings)
    assert (frame.index.name, list(frame.columns)) == ("key", ["value", "default", "meaning"])
    assert list(frame.loc["timeout", ["value", "default"]]) == [5, 30]


def test_types_of_group_metrics(queue: Queue) -> None:
    """Counts are integers, times and rates floats, unknown ones NA."""
    queue.enqueue("a", tags=["x"])
    frame = queue.stats(by="tag")
    assert (frame.loc["x", "counts_pending"], frame.loc["x", "attempts"]) == (1, 0)
    assert frame.loc["x", "run_s_p95"] is pd.NA


@pytest.mark.parametrize("value", ["soon", b"soon", 1e300, float("-inf")])
def test_invalid_times(queue: Queue, value: object) -> None:
    """A time that was edited by hand to something that is none is the error of the other views, not a ValueError."""
    queue.enqueue("true")
    run_one(queue)
    for table, column, read in (
        ("jobs", "run_at", queue.jobs),
        ("attempts", "started_at", queue.attempts),
        ("jobs", "finished_at", queue.results),
    ):
        with queue.store.db.write() as connection:
            connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
        with pytest.raises(BadEnvironment, match="invalid stored time"):
            read()
