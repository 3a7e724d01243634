"""Enqueueing many jobs from dicts, DataFrames and templates: all or none."""

from __future__ import annotations

import pickle
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from queuectl_nb.model.errors import BadInput, NotFound, QueuectlError
from queuectl_nb.model.state import State
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from queuectl_nb.client import Queue


def test_dicts(queue: Queue) -> None:
    """Each dict has the fields of a job, and takes precedence over common fields."""
    jobs = queue.enqueue_many([{"command": "a"}, {"command": "b", "priority": 9}], priority=2, tags=["t"])
    assert [(job.command, job.priority, job.tags) for job in jobs] == [("a", 2, ("t",)), ("b", 9, ("t",))]


def test_invalid_row(queue: Queue) -> None:
    """The error names the row, and nothing is enqueued."""
    with pytest.raises(BadInput, match=r"row 2.*priority"):
        queue.enqueue_many([{"command": "a"}, {"command": "b", "priority": "high"}])
    assert sum(queue.store.reader.counts().values()) == 0


def test_frame(queue: Queue) -> None:
    """Columns that are fields are used, others ignored; missing values count as not given."""
    frame = pd.DataFrame({"command": ["a", "b"], "timeout": [np.nan, 5.0], "priority": [1, 2], "seed": [7, 8]})
    jobs = queue.enqueue_many(frame)
    assert [(job.command, job.timeout, job.priority) for job in jobs] == [("a", None, 1), ("b", 5.0, 2)]


def test_template(queue: Queue) -> None:
    """Each value reaches the shell as one word; braces are doubled."""
    frame = pd.DataFrame({"name": ["it's", "$(rm -rf /)"], "n": np.array([1, 2], dtype="int64")})
    jobs = queue.enqueue_many("run {name} -n {n} {{}}", frame, queue="gpu")
    assert [job.command for job in jobs] == ["run 'it'\"'\"'s' -n 1 {}", "run '$(rm -rf /)' -n 2 {}"]
    assert {job.queue for job in jobs} == {"gpu"}


def test_unknown_placeholder(queue: Queue) -> None:
    """The error lists the columns."""
    with pytest.raises(BadInput, match="lr"):
        queue.enqueue_many("run {rl}", pd.DataFrame({"lr": [1]}))
    assert sum(queue.store.reader.counts().values()) == 0


def records(queue: Queue) -> list[Any]:
    """Return the jobs in enqueue order."""
    return sorted(queue.store.reader.jobs(Filter.from_options()), key=lambda job: job.seq)


# ---------------------------------------------------------------------- values


def test_numpy_and_pandas_values(queue: Queue) -> None:
    """Scalars, times, timedeltas, arrays and paths are accepted in dicts, frames and common fields."""
    queue.enqueue_many(
        [
            {
                "command": np.str_("a"),
                "priority": np.int64(3),
                "timeout": np.float32(2.5),
                "delay": pd.Timedelta("1min"),
                "tags": np.array(["x", "y"]),
                "id": pd.NA,
                "queue": None,
                "max_retries": np.uint8(7),
            },
            {"command": "b", "run_at": pd.Timestamp("2100-01-01", tz="UTC"), "timeout": timedelta(minutes=2)},
            {"command": "c", "run_at": np.datetime64("2100-01-01"), "after": pd.NaT},
            {"command": "d", "run_at": np.datetime64("NaT", "us")},
        ],
        cwd=Path("/"),
    )
    first, second, third, fourth = records(queue)
    assert (first.priority, first.timeout, first.tags, first.max_retries) == (3, 2.5, ("x", "y"), 7)
    assert first.run_at - first.created_at == pytest.approx(60)
    assert (second.run_at, second.timeout) == (datetime(2100, 1, 1, tzinfo=UTC).timestamp(), 120)
    assert third.run_at == datetime(2100, 1, 1).timestamp()
    assert fourth.run_at == fourth.created_at
    assert {job.cwd for job in records(queue)} == {"/"}


def test_naive_times_are_local(queue: Queue) -> None:
    """Naive times in frames are local times, as in text, although pandas takes them as UTC."""
    frame = pd.DataFrame({"command": ["a"], "run_at": pd.to_datetime(["2100-06-01 12:00"])})
    queue.enqueue_many(frame)
    queue.enqueue("b", run_at="2100-06-01 12:00")
    assert len({job.run_at for job in records(queue)}) == 1


def test_missing_values(queue: Queue) -> None:
    """Integers that pandas turned into floats, and NaN for missing values, are accepted in frames."""
    frame = pd.DataFrame(
        {
            "command": ["a", "b"],
            "priority": [5, None],
            "max_retries": [np.nan, 2],
            "id": [101, 102],
            "queue": ["gpu", None],
            "tags": [["x"], None],
            "run_at": [pd.NaT, pd.Timestamp("2100-01-01", tz="UTC")],
            "env": [None, {"A": "1"}],
        }
    )
    queue.enqueue_many(frame, queue="other", priority=1)
    first, second = records(queue)
    assert (first.id, first.priority, first.max_retries, first.queue, first.tags) == ("101", 5, None, "gpu", ("x",))
    assert (second.id, second.priority, second.max_retries, second.queue, second.tags) == ("102", 1, 2, "other", ())
    assert first.run_at == first.created_at


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"delay": float("nan")}, "delay must be"),
        ({"priority": 5.0}, "priority must be a whole number"),
        ({"priority": np.float64(1.5)}, "priority must be a whole number"),
        ({"priority": np.bool_(1)}, "priority must be a whole number"),
        ({"lr": 0.1}, "job field 'lr' is unknown; valid: id, command"),
        ({"command": None}, "needs a command"),
        ({"cwd": "/no/such/folder"}, "is not a directory"),
        ({"after": ["nobody"]}, "no job nobody"),
    ],
    ids=str,
)
def test_dicts_are_strict(queue: Queue, row: dict[str, object], why: str) -> None:
    """Values in dicts are not converted by guessing."""
    with pytest.raises(QueuectlError, match=re.escape(why)):
        queue.enqueue_many([{"command": "a"}, {"command": "b", **row}])
    assert records(queue) == []


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([{"command": "a"}, {"command": "b", "id": "x"}, {"command": "c", "id": "x"}], "row 3: job x occurs twice"),
        ([{"command": "a"}, {"command": "b", "id": "there"}], "row 2: job there is already in the queue"),
        ([{"command": "a", "id": "y"}, {"command": "b", "after": ["z"]}], "row 2: no job z to wait for"),
        (pd.DataFrame({"command": ["a", "b"], "id": ["y", "there"]}, index=[7, 8]), "row 2: job there is already"),
        ([{"command": "b", "id": "there"}], "job there is already"),
    ],
    ids=["twice", "taken", "after", "frame", "single"],
)
def test_row_that_the_queue_refuses(queue: Queue, rows: Any, why: str) -> None:
    """Errors found during the insert name the row too, unless it is the only one."""
    queue.enqueue("true", id="there")
    with pytest.raises((BadInput, NotFound), match=f"^{why}"):
        queue.enqueue_many(rows)
    assert [job.id for job in records(queue)] == ["there"]


def test_row_number_with_if_absent(queue: Queue) -> None:
    """With ``if_absent`` existing jobs count as rows too."""
    queue.enqueue("true", id="there")
    there, new = {"command": "true", "id": "there"}, {"command": "true", "id": "new"}
    with pytest.raises(BadInput, match=r"^row 3: job new occurs twice"):
        queue.enqueue_many([there, new, new], if_absent=True)
    with pytest.raises(BadInput, match=r"^row 2: job there is already in the queue with another command"):
        queue.enqueue_many([new, {**there, "command": "false"}], if_absent=True)
    with pytest.raises(NotFound, match=r"^row 2: no job z"):
        queue.enqueue_many([there, {**new, "after": "z"}], if_absent=True)
    assert [job.id for job in records(queue)] == ["there"]


# ---------------------------------------------------------------------- templates


def test_template_with_dicts(queue: Queue) -> None:
    """Keys are parameters or job fields; any iterable is accepted."""
    queue.enqueue_many("run {n}", ({"n": n, "priority": n} for n in range(2)), timeout=9)
    assert [(job.command, job.priority, job.timeout) for job in records(queue)] == [("run 0", 0, 9), ("run 1", 1, 9)]


def test_template_with_job_fields(queue: Queue) -> None:
    """Job fields are used, unless the template names them as parameters."""
    frame = pd.DataFrame({"timeout": [5], "id": ["x"], "seed": [7], "priority": [3], "command": ["no"]})
    queue.enqueue_many("run {timeout} {id}", frame)
    (job,) = records(queue)
    assert (job.command, job.timeout, job.id, job.priority) == ("run 5 x", None, "job-1", 3)


def test_number_format(queue: Queue) -> None:
    """Values have no extra digits: narrow floats, integers with gaps elsewhere, booleans, categories."""
    frame = pd.DataFrame(
        {
            "f": np.array([0.1, 0.7], dtype="float32"),
            "d": [1e-5, 1 / 3],
            "i": pd.array([1, 2], dtype="Int64"),
            "b": [True, False],
            "c": pd.Categorical(["x y", "z"]),
        }
    )
    queue.enqueue_many("{f} {d} {i} {b} {c}", frame)
    assert [job.command for job in records(queue)] == ["0.1 1e-05 1 True 'x y'", f"0.7 {1 / 3} 2 False z"]


def test_named_index(queue: Queue) -> None:
    """Named index levels, as of ``groupby`` and ``set_index``, are columns."""
    frame = pd.DataFrame({"n": [1]}, index=pd.MultiIndex.from_tuples([("a", 2)], names=["x", "y"]))
    queue.enqueue_many("{x} {y} {n}", frame)
    assert records(queue)[0].command == "a 2 1"


@pytest.mark.parametrize(
    ("rows", "frame", "common", "why"),
    [
        ("run {n}", None, {}, "a template needs rows"),
        ("run '{n}'", [{"n": 1}], {}, "inside quotes"),
        ("run {n}", [{"n": 1, "note": 2}], {}, "row 1: 'note' is neither in the command (n) nor a field of a job"),
        ("run {n}", [{"n": 1}, {}], {}, "row 2: {n} in the command is unknown; valid: none"),
        ("run {n}", [{"n": 1}, {"n": None}], {}, "row 2: {n} has no value"),
        ("run {n}", pd.DataFrame({"n": [1, np.nan]}), {}, "row 2: {n} has no value"),
        ("run {n}", pd.DataFrame({"m": [1], 0: [2]}), {}, "{n} in the command is unknown; valid: m (and"),
        ("run {n}", pd.DataFrame([[1, 2]], columns=["n", "n"]), {}, "2 columns 'n'"),
        ("run {n}", [{"n": 1}], {"command": "x"}, "a template cannot be combined"),
        ("run {n}", [5], {}, "a row for the template must be a dict, not 5"),
        ("run {n}", [{"n": [1]}], {}, "{n} is list, not a single text or number"),
        ("run {n}", [{"n": 1}, {"n": pd.NaT}], {}, "row 2: {n} has no value"),
        ("run {n}", [{"n": pd.NA}], {}, "{n} has no value"),
        ("run {n}", {"n": [1]}, {}, "a single dict"),
        ("run {n}", 5, {}, "must be a list of dicts, or a DataFrame; this is 5"),
        (None, None, {}, "must be a list of dicts, or a DataFrame; this is None"),
        ([{"command": "a", "after": 5}], None, {}, "after must be a list of names, not 5"),
        ([{"command": "a", "after": {"b": 1}}], None, {}, "after must be a list of names, not {'b': 1}"),
        ([{"command": "a", "cwd": 5}], None, {}, "cwd must be text, not 5"),
        (
            pd.DataFrame([["a", 1]], columns=pd.MultiIndex.from_tuples([("command", ""), ("x", "y")])),
            None,
            {},
            "no col",
        ),
        ([{"command": "a"}], [{"n": 1}], {}, "frame= needs a template"),
        ({"command": "a"}, None, {}, "a list of dicts"),
        (["a"], None, {}, "a job must be a dict such as {'command': 'true'}, not 'a'"),
        (pd.DataFrame({"n": [1]}), None, {}, "no column 'command'"),
        ([{"command": "a"}], None, {"priorty": 1}, "job field 'priorty' is unknown"),
    ],
    ids=str,
)
def test_invalid_calls(queue: Queue, rows: Any, frame: Any, common: dict[str, Any], why: str) -> None:
    """The error is one line, names the row if one is at fault, and nothing is enqueued."""
    with pytest.raises(BadInput, match=re.escape(why)):
        queue.enqueue_many(rows, frame, **common)
    assert records(queue) == []


def test_no_rows(queue: Queue) -> None:
    """An empty list or frame adds nothing and is not an error."""
    assert len(queue.enqueue_many([])) == 0
    assert queue.enqueue_many("run {n}", pd.DataFrame({"n": []})) == []
    assert queue.results(pd.DataFrame({"n": []})).empty


# ---------------------------------------------------------------------- what comes back


def test_batch_is_a_sequence(queue: Queue) -> None:
    """Index, slice, length, order, comparison, sum and membership work."""
    jobs = queue.enqueue_many([{"command": text} for text in "abcd"])
    as_list = list(jobs)
    assert [job.id for job in as_list] == jobs.ids == ["job-1", "job-2", "job-3", "job-4"]
    assert (jobs[0], jobs[-1]) == (as_list[0], as_list[3])
    assert jobs == as_list == jobs[:]
    assert jobs[1:3] == as_list[1:3]
    assert list(reversed(jobs)) == as_list[::-1]
    assert jobs[:1] + jobs[3:] == [as_list[0], as_list[3]]
    assert as_list[3:] + jobs[:1] == [as_list[3], as_list[0]]
    assert as_list[2] in jobs
    assert jobs.index(as_list[2]) == 2
    assert repr(jobs) == "<Batch of 4 jobs: job-1, …, job-4>"
    assert repr(jobs[:0]) == "<Batch of 0 jobs>"
    assert pickle.loads(pickle.dumps(jobs)) == jobs
    with pytest.raises(IndexError):
        jobs[4]


def test_after_a_batch(queue: Queue) -> None:
    """``after`` accepts jobs, ids and all jobs of an enqueue."""
    first = queue.enqueue_many([{"command": "a"}, {"command": "b"}])
    last = queue.enqueue("c", after=first)
    queue.enqueue_many([{"command": "d", "after": [first[0], last.id]}, {"command": "e"}], if_absent=False)
    assert [job.after for job in records(queue)[2:]] == [("job-1", "job-2"), ("job-1", "job-3"), ()]


def test_generated_id_in_use(queue: Queue) -> None:
    """If a generated id is in use, all rows still get an id, and the counts are exact."""
    queue.enqueue("x", id="job-4")
    jobs = queue.enqueue_many([{"command": "y"}, {"command": "z", "id": "job-2"}, {"command": "y"}])
    assert jobs.ids == ["job-2.1", "job-2", "job-4.1"]
    assert queue.store.reader.counts()[State.PENDING] == 4


@pytest.mark.parametrize("count", [1, 2, 99, 300, 449, 450, 451, 1000])
def test_any_number_of_rows(queue: Queue, count: int) -> None:
    """Rows are inserted in multi-row statements without losing or doubling any."""
    expected = [
        {"command": f"run {index}", "priority": index % 3, "tags": [f"t{index % 2}"], "timeout": index or None}
        for index in range(count)
    ]
    queue.enqueue_many(expected)
    found = [
        {"command": job.command, "priority": job.priority, "tags": list(job.tags), "timeout": job.timeout}
        for job in records(queue)
    ]
    assert found == expected
    assert queue.store.reader.counts()[State.PENDING] == count
