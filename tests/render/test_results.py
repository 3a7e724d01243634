"""``Queue.results``: the parameters of each row beside the results of its own job."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from queuectl_nb import BadInput, Queue
from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store.claims import Claims, EndedAttempt

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = "train --lr {lr} --seed {seed}"


def grid() -> pd.DataFrame:
    """Return six rows of parameters with non-consecutive labels."""
    rows = [{"lr": lr, "seed": seed, "note": "x"} for lr in (0.1, 0.2, 0.3) for seed in (1, 2)]
    return pd.DataFrame(rows, index=[f"row {index}" for index in range(6)])


def run_all(queue: Queue, give: Any = None) -> None:
    """Complete all ready jobs with the command as result, or what ``give`` returns for it."""
    claims, settings, now = Claims(queue.store.db, "worker-1", "here"), queue.settings, time.time()
    while leases := claims.settle_and_claim(limit=100, settings=settings, now=now, rand=0).leases:
        ended = []
        for lease in leases:
            value = {"command": lease.command} if give is None else give(lease.command)
            ending = Ending(
                now + 2, now, 1, usage=Usage(0.1, 0.1, 4096), result=None if value is None else json.dumps(value)
            )
            ended.append(EndedAttempt(lease, Exited(0), ending))
        claims.settle_and_claim(ended=ended, settings=settings, now=now + 2, rand=0)


def wrong_pairs(found: pd.DataFrame) -> list[str]:
    """Return the commands beside parameters that they were not made from."""
    return [
        row["command"]
        for _, row in found.iterrows()
        if row["command"] != f"train --lr {row['lr']} --seed {row['seed']}"
    ]


def test_columns_and_types(queue: Queue) -> None:
    """Parameters come first, then job, state, duration and memory, then results, with real types."""
    frame = grid()
    queue.enqueue_many(TEMPLATE, frame)
    run_all(queue, lambda command: {"loss": len(command), "ok": True, "best": None, "curve": [1, 2], "name": "n"})
    found = queue.results(frame)
    assert list(found.columns) == [
        *["lr", "seed", "note", "job_id", "state", "ran", "max_rss_bytes"],
        *["loss", "ok", "best", "curve", "name"],
    ]
    assert list(found.index) == list(frame.index)
    kinds = found.dtypes.astype(str)
    assert list(kinds[["lr", "seed"]]) == ["float64", "int64"]
    assert (kinds["state"], kinds["ran"], kinds["max_rss_bytes"]) == ("category", "timedelta64[us]", "Int64")
    assert list(kinds[["loss", "ok", "name"]]) == ["Int64", "boolean", "string"]
    assert set(found["ran"]) == {pd.Timedelta(seconds=2)}
    assert list(frame.columns) == ["lr", "seed", "note"], "the user's frame stays as it is"
    assert frame.attrs == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame,
        lambda frame: frame.copy(),
        lambda frame: frame.sort_values(["seed", "lr"], ascending=False),
        lambda frame: frame[frame.lr > 0.1],
        lambda frame: frame.sample(frac=1, random_state=3).reset_index(drop=True),
        lambda frame: frame.drop(columns="note"),
        lambda frame: frame.assign(more=1),
        lambda frame: frame.iloc[:0],
        lambda frame: frame.set_index(["lr", "seed"], drop=False),
    ],
    ids=["same", "copy", "sorted", "filtered", "shuffled", "narrower", "wider", "empty", "indexed"],
)
def test_each_row_gets_its_own_job(queue: Queue, change: Any) -> None:
    """After any change of the frame, each row has the job that was made from its parameters."""
    frame = grid()
    queue.enqueue_many(TEMPLATE, frame)
    run_all(queue)
    changed = change(frame)
    found = queue.results(changed)
    assert list(found.index) == list(changed.index)
    assert len(found) == 0 or wrong_pairs(found) == []


def test_changed_parameters(queue: Queue) -> None:
    """A row without a job is an error with a remedy, and does not get another's result."""
    frame = grid()
    queue.enqueue_many(TEMPLATE, frame)
    with pytest.raises(BadInput, match=r"jobs=.*job_id"):
        queue.results(frame.assign(lr=frame.lr * 2))
    with pytest.raises(BadInput, match="of this frame are not known"):
        queue.results(pd.DataFrame({"other": [1]}))
    with pytest.raises(BadInput, match="of this frame are not known"):
        queue.results(pd.concat([frame, frame]))


def test_equal_rows(queue: Queue) -> None:
    """Rows that give the same command keep the order of their jobs."""
    frame = pd.DataFrame({"n": [1, 1, 2, 1]})
    queue.enqueue_many("run {n}", frame)
    assert list(queue.results(frame)["job_id"]) == ["job-1", "job-2", "job-3", "job-4"]
    assert list(queue.results(frame[frame.n == 1])["job_id"]) == ["job-1", "job-2", "job-4"]


def test_last_enqueue_counts(queue: Queue) -> None:
    """For a frame enqueued twice the later jobs are shown, for several templates those of the last."""
    frame = grid()
    queue.enqueue_many(TEMPLATE, frame)
    queue.enqueue_many("test --lr {lr} --seed {seed}", frame)
    again = queue.enqueue_many(TEMPLATE, frame)
    assert list(queue.results(frame)["job_id"]) == again.ids


def test_new_queue_object(queue: Queue) -> None:
    """After a second ``Queue()`` the jobs of a frame are still known."""
    frame = grid()
    jobs = queue.enqueue_many(TEMPLATE, frame)
    other = Queue(queue.path)
    assert list(other.results(frame)["job_id"]) == jobs.ids
    other.close()


def test_job_id_column(queue: Queue, tmp_path: Path) -> None:
    """``job_id`` in the frame names the jobs in any order, also after a kernel restart."""
    frame = grid()
    frame["job_id"] = queue.enqueue_many(TEMPLATE, frame).ids
    run_all(queue)
    frame.to_csv(tmp_path / "grid.csv", index=False)
    kept = pd.read_csv(tmp_path / "grid.csv").sort_values("seed", kind="stable")
    del queue._frame_index
    found = queue.results(kept)
    assert wrong_pairs(found) == []
    assert list(found.columns).count("job_id") == 1


def test_jobs_argument(queue: Queue) -> None:
    """Jobs or ids in the order of the rows, as many as there are rows."""
    frame = pd.DataFrame({"a": [1, 2]})
    jobs = queue.enqueue_many([{"command": "x"}, {"command": "y"}])
    assert list(queue.results(frame, jobs)["job_id"]) == ["job-1", "job-2"]
    assert list(queue.results(frame, jobs=["job-2", jobs[0]])["job_id"]) == ["job-2", "job-1"]
    with pytest.raises(BadInput, match="2 rows, but there are 1 jobs"):
        queue.results(frame, jobs[:1])


def test_without_a_frame(queue: Queue) -> None:
    """The command replaces the parameters, and the id is the index."""
    queue.enqueue_many([{"command": "x"}, {"command": "y"}])
    found = queue.results()
    assert (found.index.name, list(found.index), list(found["command"])) == ("id", ["job-1", "job-2"], ["x", "y"])
    assert list(queue.results(jobs=["job-2"]).index) == ["job-2"]


def test_name_collisions(queue: Queue) -> None:
    """Neither a field of the job nor a result overwrites a parameter."""
    frame = pd.DataFrame({"state": ["CA"], "loss": [1]})
    queue.enqueue_many("run {state} {loss}", frame)
    run_all(queue, lambda _: {"loss": 2.5, "state": "s", "ran": 1})
    (row,) = queue.results(frame).to_dict("records")
    assert (row["state"], row["state_job"], row["state_result"]) == ("CA", "completed", "s")
    assert (row["loss"], row["loss_result"], row["ran_result"]) == (1, 2.5, 1)


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([1, None], "Int64", [1, pd.NA]),
        ([1, 2.5], "Float64", [1.0, 2.5]),
        ([[1], {"a": 1}], "object", [[1], None]),
        ([1, "a"], "object", [1, "a"]),
        ([2**63, 1], "object", [2**63, 1]),
        ([None, None], None, None),
    ],
    ids=str,
)
def test_results_that_are_not_objects(
    queue: Queue, values: list[Any], kind: str | None, shown: list[Any] | None
) -> None:
    """They are one column of a fitting type; without results there is none."""
    frame = pd.DataFrame({"n": [0, 1]})
    queue.enqueue_many("{n}", frame)
    run_all(queue, lambda command: values[int(command)])
    found = queue.results(frame)
    if kind is None:
        assert "result" not in found
        return
    assert (str(found["result"].dtype), list(found["result"])) == (kind, shown)


def test_deleted_job(queue: Queue) -> None:
    """Its state is unknown; the other rows are unaffected."""
    frame = pd.DataFrame({"n": [0, 1, 2]})
    queue.enqueue_many("run {n}", frame)
    queue.delete("job-2")
    found = queue.results(frame)
    assert list(found["state"].isna()) == [False, True, False]
    assert list(found["job_id"]) == ["job-1", "job-2", "job-3"]


def test_frame_with_commands(queue: Queue) -> None:
    """A column of commands identifies the jobs, like a template."""
    frame = pd.DataFrame({"command": ["a", "b"], "lr": [1, 2]})
    queue.enqueue_many(frame)
    assert list(queue.results(frame.iloc[::-1])["job_id"]) == ["job-2", "job-1"]


def test_unusual_labels(queue: Queue) -> None:
    """Duplicate columns, multi-level labels and duplicate row labels are kept."""
    twice = pd.DataFrame([[1, 2, 3], [4, 5, 6]], columns=["a", "b", "b"], index=[7, 7])
    jobs = queue.enqueue_many("run {a}", twice)
    run_all(queue, lambda command: {"b": command})
    found = queue.results(twice)
    assert list(found.columns) == ["a", "b", "b", "job_id", "state", "ran", "max_rss_bytes", "b_result"]
    assert found.iloc[:, :3].equals(twice)
    assert list(found["b_result"]) == ["run 1", "run 4"]
    levels = twice.set_axis(pd.MultiIndex.from_tuples([("a", "x"), ("b", "x"), ("b", "y")]), axis="columns")
    found = queue.results(levels, jobs=jobs)
    assert found.columns.nlevels == 2
    assert found["b"].equals(levels["b"])
    assert list(found["b_result"]) == ["run 1", "run 4"]
    assert list(found["job_id"]) == jobs.ids


def test_invalid_arguments(queue: Queue) -> None:
    """Rows and jobs in place of the frame are refused with the correct call; a single job is accepted."""
    batch = queue.enqueue_many("run {a}", [{"a": 1}, {"a": 2}])
    wrong: Any
    for wrong in ([{"a": 1}], "x", pd.Series([1])):
        with pytest.raises(BadInput, match="takes a DataFrame"):
            queue.results(wrong)
    assert list(queue.results(jobs=batch).index) == batch.ids
    assert list(queue.results(jobs=batch[0]).index) == list(queue.results(jobs=batch.ids[0]).index) == batch.ids[:1]
    with pytest.raises(BadInput, match="2 columns 'job_id'"):
        queue.results(pd.DataFrame([batch.ids], columns=["job_id", "job_id"]))
