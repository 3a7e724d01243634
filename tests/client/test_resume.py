"""Keys and ``resume``: work that was done is kept, what failed runs again, and the rest is added."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from queuectl_nb.client.cell import Cell, make_cell_spec
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.outcome import Exited

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran

TEMPLATE = "python train.py --lr {lr}"
FRAME = pd.DataFrame({"lr": [0.1, 0.2, 0.3, 0.4]})


def train(rate: float, epochs: int = 3, **others: Any) -> float:
    """Return a number."""
    return rate * epochs + len(others)


def states(queue: Queue) -> dict[str, str]:
    """Return the state of every job by its id, in enqueue order."""
    with queue.store.db.read() as connection:
        return dict(connection.execute("SELECT id, state FROM jobs ORDER BY seq").fetchall())


def count_blobs(queue: Queue) -> int:
    """Return the number of blobs that jobs need."""
    with queue.store.db.read() as connection:
        return int(connection.execute("SELECT count(*) FROM blobs").fetchone()[0])


def test_what_is_kept_retried_and_added(queue: Queue, manual_worker: ManualWorker) -> None:
    """Completed, running and waiting work is kept; failed, dead and cancelled work runs again with a fresh budget."""
    batch = queue.enqueue_many(TEMPLATE, FRAME, resume=True, max_retries=2)
    assert str(batch) == "4 enqueued"
    done, failed, cancelled, running = batch.ids
    manual_worker.run(done)
    manual_worker.run(failed, Exited(1))
    queue.cancel(cancelled)
    manual_worker.claim(running)
    frame = pd.concat([FRAME, pd.DataFrame({"lr": [0.5]})])
    again = queue.enqueue_many(TEMPLATE, frame, resume=True, max_retries=2)
    assert again.ids[:4] == batch.ids
    assert str(again) == "2 kept, 2 retried, 1 enqueued"
    assert states(queue) == {
        done: "completed",
        failed: "pending",
        cancelled: "pending",
        running: "processing",
        again.ids[4]: "pending",
    }
    assert queue.job(failed).attempts == 0
    assert str(queue.enqueue_many(TEMPLATE, frame, resume=True)) == "5 kept"
    assert repr(again).startswith("<Batch of 5 jobs: ")


def test_without_resume(queue: Queue) -> None:
    """Nothing is compared, and jobs have no key."""
    queue.enqueue_many(TEMPLATE, FRAME)
    batch = queue.enqueue_many(TEMPLATE, FRAME)
    assert str(batch) == repr(batch)
    assert len(queue.jobs()) == 8
    assert queue.jobs()["key"].isna().all()


def test_what_makes_the_key(queue: Queue, tmp_path: Path) -> None:
    """Command, directory and ``env`` do; queue, tags, priority, timeout and retries do not."""

    def resume(command: str = "true", **fields: Any) -> str:
        return str(queue.enqueue_many([{"command": command, **fields}], resume=True))

    assert resume() == "1 enqueued"
    assert resume(queue="gpu", tags=["a"], priority=3, timeout=5, max_retries=7) == "1 kept"
    for fields in ({"command": "true "}, {"cwd": str(tmp_path)}, {"env": {"A": "1"}}):
        assert resume(**fields) == "1 enqueued"
    assert resume(env={"A": "1"}) == "1 kept"


def test_equal_rows_are_one_job(queue: Queue) -> None:
    """Of equal rows in one list, one is enqueued; the batch has it for each."""
    batch = queue.enqueue_many(TEMPLATE, [{"lr": 1}, {"lr": 2}, {"lr": 1}], resume=True)
    assert str(batch) == "1 kept, 2 enqueued"
    assert batch.ids[0] == batch.ids[2] != batch.ids[1]


def test_kept_job_that_has_finished(manual_worker: ManualWorker, run: Callable[..., Ran]) -> None:
    """It gets no hints: it does not run again."""
    words = ("enqueue", "--id", "a", "--key", "model-7", "--command", "true")
    assert "Times out after 30 s" in run(*words).stderr
    manual_worker.run("a")
    ran = run(*words[:1], *words[3:])
    assert (ran.stdout, ran.stderr) == ("Job a kept: completed.\n", "")


def test_given_key(queue: Queue, run: Callable[..., Ran]) -> None:
    """``--key`` implies ``--resume``; with other work it is refused, and nothing is changed."""
    job = json.loads(run("enqueue", "--key", "model-7", "--command", "true", "--json").stdout)
    assert job["key"] == "model-7"
    assert list(job)[-5:] == ["kind", "key", "progress", "metrics", "result_repr"]
    kept = run("enqueue", "--key", "model-7", "--command", "true")
    assert kept.stdout == f"Job {job['id']} kept: pending.\n"
    assert "Times out after 30 s" in kept.stderr
    queue.cancel(job["id"])
    assert run("enqueue", "--key", "model-7", "--command", "true").stdout == f"Job {job['id']} retried: pending.\n"
    ran = run("enqueue", "--key", "model-7", "--command", "false")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert (
        ran.stderr == f"queuectl: key model-7 is that of job {job['id']}, which does other work; choose another key\n"
    )
    queue.delete(job["id"])
    assert run("enqueue", "--key", "model-7", "--command", "false").exit_code == 0
    assert len(queue.jobs()) == 1


@pytest.mark.parametrize("key", ["", "../x", "a b", "x" * 129])
def test_bad_key(run: Callable[..., Ran], key: str) -> None:
    """A key is a name like an id."""
    ran = run("enqueue", "--command", "true", "--key", key)
    assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)


def test_lines(queue: Queue, run: Callable[..., Ran]) -> None:
    """``--from --resume``: a key in a line, otherwise one is made; the answer says what was done."""
    words = ("enqueue", "--from", "-", "--resume")
    lines = b'{"command": "true", "key": "a"}\n{"command": "false"}\n'
    assert run(*words, stdin=lines).stdout == "2 enqueued\n"
    assert run(*words, stdin=lines + b'{"command": "x"}\n').stdout == "2 kept, 1 enqueued\n"
    ran = run(*words, stdin=b'{"command": "y"}\n{"command": "z", "key": "a"}\n')
    assert (ran.exit_code, ran.stderr.startswith("queuectl: line 2: key a is that of job")) == (2, True)
    assert len(queue.jobs()) == 3
    ran = run(*words, "--if-absent", stdin=lines)
    assert (ran.exit_code, ran.stderr) == (2, "queuectl: if_absent cannot be combined with key or resume\n")


def test_functions(queue: Queue) -> None:
    """Positional and keyword forms are the same call; another argument is other work; a chunk is one piece of work."""
    task = queue.task(train, resume=True)
    first = task.submit(0.1, 3)
    assert task.submit(rate=0.1, epochs=3).id == first.id
    assert task.submit(0.1).id != first.id
    assert task.submit(0.1, 3.0).id != first.id
    batch = queue.map(train, [0.1, 0.2, 0.3], [3, 3, 3], resume=True)
    assert (batch.ids[0], str(batch)) == (first.id, "1 kept, 2 enqueued")
    assert str(queue.map(train, [0.1, 0.2], chunksize=2, resume=True)) == "1 enqueued"
    assert str(queue.map(train, [0.1, 0.2], chunksize=2, resume=True)) == "1 kept"
    grid = queue.grid(rate=[0.1, 0.2], epochs=range(2))
    assert grid.to_dict("records")[1] == {"rate": 0.1, "epochs": 1}
    assert str(task.map(grid)) == "4 enqueued"
    assert queue.grid(epochs=[2, None], rate=[1, 0.1])["epochs"].tolist() == [2, 2, None, None]
    for value in ("resnet", 3):
        with pytest.raises(BadInput, match=r"model must be a list of values, not .*; put it into a list"):
            queue.grid(model=value)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="the grid has 10000000000 combinations; at most 1000000 are allowed"):
        queue.grid(rate=range(10**5), seed=range(10**5))


def test_source_is_read_once(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls there are."""
    getsource = Mock(side_effect=inspect.getsourcefile)
    monkeypatch.setattr(inspect, "getsourcefile", getsource)
    assert str(queue.map(train, range(20), resume=True)) == "20 enqueued"
    getsource.assert_called_once_with(train)


def test_changed_source(queue: Queue) -> None:
    """A function with other source is other work, and the answer says so; comments and decorators do not count."""

    def define(source: str) -> Any:
        import linecache

        name = f"<changed-{len(linecache.cache)}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        space: dict[str, Any] = {"__name__": "__main__", "task": lambda function: function}
        exec(compile(source, name, "exec"), space)  # noqa: S102
        return space["f"]

    one = define("def f(x):\n    return x + 1\n")
    same = define("@task\ndef f(x):  # adds\n\n    return (x + 1)\n")
    other = define("def f(x):\n    return x + 2\n")
    assert str(queue.map(one, [1, 2], resume=True)) == "2 enqueued"
    assert str(queue.map(same, [1, 2], resume=True)) == "2 kept"
    changed = "2 enqueued; the source has changed since earlier jobs, which count as other work"
    assert str(queue.map(other, [1, 2], resume=True)) == changed
    assert str(queue.map(lambda x: x, [1], resume=True)) == "1 enqueued"


def test_moved_source(queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function whose lines have moved in the file of its module, which is still loaded, is the same work."""
    source = "def before(x):\n    return 0\n\n\ndef f(x):\n    y = x + 1\n    return y\n"
    file = tmp_path / "moved_source.py"
    file.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("moved_source")
    assert str(queue.map(module.f, [1], resume=True)) == "1 enqueued"
    file.write_text("import os\nimport sys\nimport json\n" + source)
    assert str(queue.map(module.f, [1], resume=True)) == "1 kept"
    file.write_text("import os\n" + source.replace("x + 1", "x + 2"))
    assert str(queue.map(module.f, [1], resume=True)).startswith("1 enqueued; the source has changed")


def test_edited_source_that_jobs_do_not_get(queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``by_value``, a file that was edited counts as other work once it is loaded again, and not before."""
    file = tmp_path / "edited_source.py"
    file.write_text("def f(x):\n    return x + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("edited_source")
    queue.by_value(module)
    try:
        assert str(queue.map(module.f, [1], resume=True)) == "1 enqueued"
        file.write_text("def f(x):\n    return x * 1000\n")
        stale = queue.map(module.f, [1], resume=True)
        importlib.reload(module)
        new = queue.map(module.f, [1], resume=True)
        assert new.ids != stale.ids
        assert str(queue.map(module.f, [1], resume=True)) == "1 kept"
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def test_lambda_in_every_process(queue: Queue) -> None:
    """The key of a function without source does not depend on the seed of hashes."""
    code = f"""
from queuectl_nb import Queue
print(Queue({str(queue.path)!r}).map(lambda x: x in {{"a", "b", "c", "d", "e"}}, [len, slice(3)], resume=True))
"""
    for seed, answer in (("1", "2 enqueued"), ("2", "2 kept")):
        ran = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        assert ran.stdout.decode().strip() == answer


def test_retried_jobs_run_what_was_enqueued_last(queue: Queue, manual_worker: ManualWorker) -> None:
    """They have the options of the new enqueue and the new code of helpers, which is no part of the key."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def helper(data):\n    return 1 / 0\ndef call(data):\n    return helper(data)\n", space)  # noqa: S102
    call, data = space["call"], bytes(100_000)
    batch = queue.task(call, max_retries=1, tags=["one"]).map([data], resume=True)
    before = count_blobs(queue)
    manual_worker.run(batch.ids[0], Exited(1))
    exec("def helper(data):\n    return len(data)\n", space)  # noqa: S102
    options = {"max_retries": 2, "timeout": 60, "priority": 7, "queue": "slow", "tags": ["two"], "env": {}}
    again = queue.task(call, **options).map([data], resume=True)
    assert (str(again), again.ids) == ("1 retried", batch.ids)
    job = again[0].refresh()
    assert (job.max_retries, job.timeout, job.priority, job.queue, job.tags) == (2, 60, 7, "slow", ("one", "two"))
    with queue.start_workers(1):
        assert again.results() == [100_000]
    assert str(queue.task(call, **options, resume=True).map([data])) == "1 kept"
    assert count_blobs(queue) == before  # the old code is gone


def test_jobs_and_functions_in_containers(queue: Queue) -> None:
    """They are known by id and source there, too."""
    first = queue.enqueue("true")
    for value in ([first], {"a": first}, [train], {"a": (train, Path)}):
        assert str(queue.map(train, [value], resume=True)) == "1 enqueued"
        assert str(queue.map(train, [value], resume=True)) == "1 kept"


def test_refused_arguments(queue: Queue) -> None:
    """What has no canonical form is refused by the name of the parameter, unless a key is given."""
    with pytest.raises(BadInput, match=r"argument rate of train has no canonical form \(builtins.object\); give a key"):
        queue.map(train, [object()], resume=True)
    with pytest.raises(BadInput, match="key names one job"):
        queue.task(train, key="a").map([1])
    assert queue.jobs().empty
    keyed = queue.task(train, key="a")
    assert keyed.submit(object()) == keyed.submit(object())
    with pytest.raises(BadInput, match="key a is that of job"):
        keyed.submit(object(), epochs=5)


@dataclasses.dataclass
class Model:
    """Has a method, and can be called."""

    rate: Any

    def fit(self, steps: int) -> float:
        """Return a number."""
        return float(self.rate * steps)

    __call__ = fit


def scaled(rate: float) -> Callable[[int], float]:
    """Return a function that depends on ``rate``."""
    return lambda steps: rate * steps


@pytest.mark.parametrize("make", [lambda rate: Model(rate).fit, Model, scaled, lambda rate: partial(Model(rate).fit)])
def test_what_functions_are_bound_to(queue: Queue, make: Callable[[float], Callable[[int], float]]) -> None:
    """The object of a method, an object that is called, and variables of enclosing functions are part of the work."""
    first = queue.map(make(0.1), [1, 2], resume=True)
    assert str(queue.map(make(0.1), [1, 2], resume=True)) == "2 kept"
    assert not set(queue.map(make(0.2), [1, 2], resume=True).ids).intersection(first.ids)


def test_functions_of_libraries(queue: Queue) -> None:
    """Functions that are not written in Python are known by their names."""
    for function in (math.sqrt, np.sqrt, len, "".join, np.sum, Path.exists, str):
        values = [Path("a")] if function is Path.exists else [["1"]] if function in (len, "".join) else [4]
        first = queue.map(function, values, resume=True)
        assert queue.map(function, values, resume=True) == first
    assert len(queue.jobs()) == 7
    with pytest.raises(BadInput, match="argument self of fit has no canonical form"):
        queue.map(Model(object()).fit, [1], resume=True)


def test_inputs_of_cells(queue: Queue) -> None:
    """A cell with other inputs is other work; those without canonical form are refused, unless a key is given."""

    def add(source: str, inputs: dict[str, Any], **options: Any) -> str:
        spec = make_cell_spec(queue.path, Cell(source, inputs), options, resume=True)
        return enqueue_specs(queue, [spec], resume=True).ids[0]

    first = add("z = y", {"y": 1, "math": math})
    assert add("z = y", {"math": math, "y": 1}) == first
    others = [add("z = y", {"y": 2, "math": math}), add("z = y", {"y": 1}), add("z = 2 * y", {"y": 1, "math": math})]
    assert len({first, *others}) == 4
    with pytest.raises(BadInput, match=r"argument y of the cell has no canonical form \(builtins.object\); give a key"):
        add("z = y", {"y": object()})
    assert add("z = y", {"y": object()}, key="a") == add("z = y", {"y": object()}, key="a")
    with pytest.raises(BadInput, match="key a is that of job"):
        add("z = y", {"y": 1}, key="a")


RACE = """
import sys
from queuectl_nb import Queue
queue = Queue(sys.argv[1])
sys.stdin.readline()
batch = queue.enqueue_many("echo {n}", [{"n": n} for n in range(200)], resume=True)
print(*batch.ids)
"""


def test_race(queue: Queue) -> None:
    """Processes that enqueue the same sweep at once get the same jobs."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(queue.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    answers = {each.communicate(timeout=60)[0] for each in processes}
    assert len(answers) == 1
    assert len(queue.jobs()) == 200
    assert len(set(answers.pop().split())) == 200
