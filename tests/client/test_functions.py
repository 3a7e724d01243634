"""Functions as jobs: values, exceptions, retries and dependencies. Faults: test_function_faults.py."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import json
import os
import pickle
import re
import signal
import time
from typing import TYPE_CHECKING, Any, NoReturn

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from queuectl_nb import BadInput, GiveUp, JobCancelled, JobFailed, NotFound, Queue, Retry, WaitTimeout, current_job
from queuectl_nb.child import main_module
from queuectl_nb.child.reply import short_repr
from queuectl_nb.client.batch import Batch
from queuectl_nb.client.function import Call, call_text
from queuectl_nb.client.task import Task
from queuectl_nb.notebook.dashboard.log_feed import LogFeed
from queuectl_nb.testing import run_pending
from queuectl_nb.web import serializers
from tests.client.calls import TIMEOUT_S, run
from tests.client.job_functions import (
    add,
    fail,
)
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ran


# ---------------------------------------------------------------------- values


def test_value(served: Queue) -> None:
    """A job returns what the function returned, also to another process's handle, and is shown as the call."""
    job = served.submit(add, 2, y=3)
    assert job.result(TIMEOUT_S) == 5
    shown = Queue(served.path).job(job.id)
    assert shown.result() == 5
    assert shown.exception() is None
    assert shown.done()
    fields = shown.to_dict()
    expected = {"command": "add(2, y=3)", "kind": "function", "result": 5, "result_repr": "5", "timeout": 0}
    assert {key: fields[key] for key in expected} == expected


def test_command_result(served: Queue) -> None:
    """``result()`` of a command is the JSON that it wrote, or None."""
    assert served.enqueue("echo '[1]' > $QUEUECTL_RESULT").result(TIMEOUT_S) == [1]
    assert served.enqueue("true").result(TIMEOUT_S) is None
    with pytest.raises(JobFailed, match="exit code 3"):
        served.enqueue("exit 3", max_retries=1).result(TIMEOUT_S)


@pytest.mark.parametrize(
    "value", [None, {"a": [1.5]}, float("inf"), "\udc80", b"\0", {1, 2}, 2**80, ("x" * 1000,)], ids=ascii
)
def test_values_are_faithful(served: Queue, value: object) -> None:
    """Values arrive with their type, whether JSON has it or not."""
    found = run(served, lambda: value)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "value",
    [b"'\0" * 5000, bytearray(5000), "ü'" * 5000, [*range(5000)], (1,) * 5000, {n: n for n in range(5000)}, {1}, {}],
    ids=lambda value: type(value).__name__,
)
def test_short_repr(value: object) -> None:
    """It is the beginning of the repr; the rest is not computed."""
    assert short_repr(value) == repr(value)[:1000]


def test_partial_functions_are_shown_with_their_arguments(queue: Queue) -> None:
    """Like a call of the function itself."""
    partial = functools.partial(functools.partial(add, 2), y=3)
    assert queue.submit(partial).command == "add(2, y=3)"
    assert queue.submit(partial, y=4).command == "add(2, y=4)"


def test_methods_as_tasks(served: Queue) -> None:
    """A method that is a task is called, and submitted, with its object."""

    class Model:
        def __init__(self, rate: float) -> None:
            self.rate = rate

        @served.task(max_retries=1)
        def fit(self, count: int) -> float:
            return self.rate * count

    assert Model(0.5).fit(4) == 2
    assert Model(0.5).fit.submit(4).result(TIMEOUT_S) == 2
    assert Model(0.5).fit.map([2, 4]).results() == [1, 2]
    assert Model.fit.submit(Model(0.5), 4).result(TIMEOUT_S) == 2


MAIN = """
import functools, gc, multiprocessing, pickle, sys
from concurrent.futures import ProcessPoolExecutor

class Net:
    def __init__(self, size):
        self.size = size

    @functools.cached_property
    def half(self):
        return self.size / 2

@functools.lru_cache(maxsize=9)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

def decorate(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper

@decorate
def double(net):
    return Net(2 * net.size)

def grow(method, net, function):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.map(function, [net])[0]

def grow_in_process(method, net, function):
    sys.argv = ["program", "--size=5"]
    gc.freeze()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        return pool.submit(grow, method, net, function).result()

def copy(net):
    return pickle.loads(pickle.dumps([double, net, fibonacci]))
"""


@pytest.fixture
def main() -> dict[str, Any]:
    """Return what is defined by a module that is called ``__main__``."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(MAIN, space)  # noqa: S102
    return space


def test_cached_functions_go_by_value(served: Queue, main: dict[str, Any]) -> None:
    """A function or property of the main module that is cached runs in a job, without what it has cached."""
    fibonacci = main["fibonacci"]
    assert run(served, fibonacci, 20) == fibonacci(20) == 6765
    assert run(served, lambda function: function.cache_info(), fibonacci) == (0, 0, 9, 0)
    net = run(served, lambda net: (net.half, net)[1], main["Net"](5))
    assert (type(net), net.half) == (main["Net"], 2.5)


def test_pickle_finds_what_the_main_module_defines(served: Queue, main: dict[str, Any]) -> None:
    """The standard pickle works in a job; a value that it could pickle there still goes by value."""
    net = main["Net"](5)
    assert run(served, main["copy"], net)[1].size == 5
    assert type(run(served, main["double"], net)) is main["Net"]


def test_classes_that_are_sent_twice() -> None:
    """Pickle finds the class that is used, and not what cloudpickle made of the second pickle and dropped."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("class Twice:\n    pass", space)  # noqa: S102
    gc.collect()  # lists the class after newer ones
    gc.disable()
    try:
        assert pickle.loads(cloudpickle.dumps(space["Twice"])) is space["Twice"]
        assert main_module.find("Twice") is space["Twice"]
    finally:
        gc.enable()


def test_cached_objects_without_a_name() -> None:
    """They are passed over when pickle looks for another name."""
    nameless = functools.cache(functools.partial(int))
    nameless.__module__ = "__main__"
    with pytest.raises(AttributeError, match="module '__main__' has no attribute 'Missing'"):
        main_module.find("Missing")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_finds_what_the_main_module_defines(served: Queue, main: dict[str, Any], method: str) -> None:
    """Also among the arguments, by every start method, and in processes of processes."""
    found = run(served, main["grow_in_process"], method, main["Net"](5), main["double"])
    assert (type(found), found.size) == (main["Net"], 10)


def test_no_text_is_made_of_large_values(served: Queue) -> None:
    """Neither the JSON nor the whole repr of a large value is made, and not the repr of a large argument."""
    shown = []

    class Item:
        def __repr__(self) -> str:
            shown.append(self)
            return "item"

    short_repr([Item()] * 1_000_000)
    assert len(shown) == 1000
    job = served.submit(lambda: [[0.5] * 1_000_000])
    assert len(job.result(TIMEOUT_S)[0]) == 1_000_000
    assert job.to_dict()["result"] is None
    job = served.submit(len, [0] * 1_000_000)
    assert job.result(TIMEOUT_S) == 1_000_000
    assert re.fullmatch(r"len\(\[(0, )+….*, \.\.\.\]\)", job.command)
    call_text("len", [Call(([[Item()] * 1000] * 1000,), {})])
    assert len(shown) < 4000


def test_large_values_are_files(served: Queue) -> None:
    """An argument and a value over 64 KiB are stored once by content, and removed with the last job that has them."""
    served.wait(timeout=TIMEOUT_S)  # no file is removed that a running job may have written
    array = np.arange(100_000.0)
    jobs = [served.submit(lambda a, n: a * n, array, 2) for _ in range(2)]
    assert all((job.result(TIMEOUT_S) == array * 2).all() for job in jobs)
    folder = served.store.db.output_dir / "blobs"
    count = len(os.listdir(folder))
    assert count >= 2
    sizes = served.db["blobs"].rows_where("body IS NULL")
    assert len(list(sizes)) == count
    assert {oct((folder / name).stat().st_mode) for name in os.listdir(folder)} == {"0o100600"}
    served.delete(*jobs)
    assert served.db.execute("SELECT count(*) FROM blobs WHERE body IS NULL").fetchone()[0] == count - 2
    assert len(os.listdir(folder)) == count - 2


def test_a_backup_has_large_arguments_and_values(queue: Queue) -> None:
    """A copy has no files of blobs: their content is in it, for jobs that have ended and for those that wait."""
    job = queue.submit(bytes.upper, b"a" * 100_000)
    run_pending(queue)
    waiting = queue.submit(bytes.upper, b"b" * 100_000)
    copy = Queue(queue.backup(queue.path.with_name("copy.db")))
    assert copy.job(job.id).result() == b"A" * 100_000
    dependent = copy.submit(len, copy.job(job.id))
    run_pending(copy)
    assert (copy.job(waiting.id).result(), dependent.result()) == (b"B" * 100_000, 100_000)


def test_local_definitions(served: Queue) -> None:
    """Closures and classes of the notebook go by value; the value is of the same class."""

    class Point(tuple[int, int]):
        __slots__ = ()

    offset = 5

    def shift(point: Point) -> Point:
        return Point((point[0] + offset, point[1]))

    found = run(served, shift, Point((1, 2)))
    assert type(found) is Point
    assert found == (6, 2)


def test_arguments_without_a_short_text(served: Queue) -> None:
    """A class whose instances have a size, and a number with more digits than Python prints, can be arguments."""
    job = served.submit(np.dtype, np.float32)
    assert job.result(TIMEOUT_S) == np.dtype("f4")
    assert served.submit(abs, -(10**5000)).command == "abs(<int of 16,610 bits>)"


def test_text_of_a_call() -> None:
    """It is complete up to 200 characters; of longer ones the longest arguments are shortened."""
    queue = Queue.inline()

    def train(data: object, *, epochs: int = 3) -> None:
        pass

    numbers = list(range(40))
    assert queue.submit(train, numbers, epochs=5).command == f"train({numbers}, epochs=5)"
    assert queue.submit(train, {"b": "x" * 150}).command == f"train({{'b': '{'x' * 150}'}})"
    assert queue.submit(train, b"x" * 150).command == f"train(b'{'x' * 150}')"
    for data in ("x" * 500, b"x" * 1_000_000, list(range(500)), 10**500, {n: n for n in range(500)}, set(range(500))):
        text = queue.submit(train, data, epochs=5).command
        assert re.fullmatch(r"train\(.{80,}….{80,}, epochs=5\)", text)
        assert len(text) == 200
    assert len(queue.submit(max, *["x" * 90] * 40).command) == 200
    nested = [[[[[list(range(30))] * 30] * 30] * 30] * 30] * 30
    assert len(queue.submit(train, nested).command) == 200
    frame = pd.DataFrame({"a": range(9), "b": range(9)})
    assert queue.submit(train, frame, epochs=5).command == "train(<DataFrame 9x2>, epochs=5)"
    call = queue.submit(max, frame, frame.a, np.zeros((2, 3)), np.arange(3))
    assert call.command == "max(<DataFrame 9x2>, <Series>, <ndarray 2x3>, array([0, 1, 2]))"


def test_async_function(served: Queue) -> None:
    """The value of a coroutine function is what it returns."""

    async def later() -> int:
        await asyncio.sleep(0)
        return 7

    assert run(served, later) == 7


def test_random_numbers_differ(served: Queue) -> None:
    """Each job has its own random numbers, although all are forked from one process."""

    def draw() -> tuple[float, float]:
        import random

        return random.random(), float(np.random.random())  # noqa: NPY002

    found = served.map(lambda _: draw(), range(6)).results(TIMEOUT_S)
    assert len({first for first, _ in found}) == len({second for _, second in found}) == 6


# ---------------------------------------------------------------------- errors


def test_exception(served: Queue) -> None:
    """The exception itself is raised, with the traceback from the job as its cause."""
    job = served.task(fail, max_retries=1).submit("bad rate")
    with pytest.raises(ValueError, match="bad rate") as caught:
        job.result(TIMEOUT_S)
    assert "in fail" in str(caught.value.__cause__)
    assert isinstance(job.exception(), ValueError)
    assert (job.state, job.error, job.exit_code) == ("dead", "ValueError: bad rate", 1)
    assert job.log("stderr").rstrip().endswith("ValueError: bad rate")


def test_retries(served: Queue) -> None:
    """A function that raises is retried; ``Retry`` sets the delay, ``GiveUp`` ends the job, and both are raised."""

    def second_time() -> int:
        job = current_job()
        assert job is not None
        if job.attempt < 2:
            raise Retry("not yet", after=0.2)
        return job.attempt

    def give_up() -> NoReturn:
        raise GiveUp("no data")

    before = time.time()
    job = served.submit(second_time)
    assert job.result(TIMEOUT_S) == 2
    assert job.started_at >= before + 0.2
    assert [attempt.error for attempt in job.history] == ["Retry: not yet", None]
    job = served.submit(give_up)
    with pytest.raises(GiveUp, match="no data"):
        job.result(TIMEOUT_S)
    assert (job.state, job.attempts, job.error) == ("dead", 1, "GiveUp: no data")
    job = served.task(fail, max_retries=2).submit("again")
    with pytest.raises(ValueError, match="again"):
        job.result(TIMEOUT_S)
    assert job.attempts == 2


def test_a_completed_job_runs_again(served: Queue) -> None:
    """After a retry the value is that of the new attempt; until then there is none."""
    job = served.submit(os.getpid)
    first = job.result(TIMEOUT_S)
    job.retry()
    assert job.result(TIMEOUT_S) != first
    assert [attempt.outcome for attempt in job.history] == ["succeeded", "succeeded"]


def test_an_old_exception_is_not_raised(served: Queue) -> None:
    """If the last attempt ends by a signal, the exception of an earlier one is not raised."""

    def raise_then_die() -> None:
        job = current_job()
        assert job is not None
        if job.attempt == 1:
            raise ValueError
        os.kill(os.getpid(), signal.SIGKILL)

    job = served.task(raise_then_die, max_retries=2).submit()
    with pytest.raises(JobFailed, match="killed by SIGKILL"):
        job.result(TIMEOUT_S)


def test_messages_of_failed_jobs_have_no_escape_sequences(served: Queue) -> None:
    """The message is shown on terminals: of the log's last lines, it has the text, and the end of progress displays."""
    text = r"\033]0;title\007\033[31mred\033[0m\r\n10%%\r20%%\nlast"
    job = served.enqueue(f"printf '{text}' >&2; exit 3", max_retries=1)
    with pytest.raises(JobFailed) as raised:
        job.result(TIMEOUT_S)
    assert str(raised.value).split("\n")[1:] == ["red", "20%", "last"]


def test_timeout_and_cancel(served: Queue) -> None:
    """A timeout is a JobFailed; a cancelled job raises JobCancelled, also from ``exception()``."""
    job = served.task(time.sleep, timeout=0.2, max_retries=1).submit(60)
    with pytest.raises(JobFailed, match=r"timed out after 0.2 seconds"):
        job.result(TIMEOUT_S)
    job = served.submit(time.sleep, 60)
    with pytest.raises(WaitTimeout):
        job.result(0)
    until(lambda: job.state == "processing")
    assert not job.done()
    job.cancel()
    for ask in (job.result, job.exception):
        with pytest.raises(JobCancelled) as caught:
            ask(TIMEOUT_S)
        assert isinstance(caught.value, concurrent.futures.CancelledError)


def test_no_pickle_is_loaded_to_show_a_job(queue: Queue, run: Callable[..., Ran], tmp_path: Path) -> None:
    """Lists, cards, frames, ``show``, dashboard and page show call and value, and never unpickle them."""
    marker = tmp_path / "loaded"

    class Bomb:
        def __repr__(self) -> str:
            return "Bomb()"

        def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
            return os.mkdir, (str(marker),)

    def detonate(_: object) -> object:
        os.write(1, b"boom\n")
        return Bomb()

    job = queue.submit(detonate, Bomb())
    assert not marker.exists()
    run_pending(queue)
    marker.rmdir()  # by the job, which loads its argument
    assert "Bomb" in repr(job)
    card = job._card()
    assert card is not None
    assert re.search(r"(?s)^Job .*: completed, function, .*call: detonate\(Bomb\(\)\)\n.*boom\n.*result: ", card.text)
    assert '<span class="qc-fg4">detonate</span>(<span' in card.html
    assert re.search(r"(?m)^call +detonate\(Bomb\(\)\)$", run("show", job.id).stdout)
    assert json.loads(run("list", "--json").stdout)[0]["command"] == "detonate(Bomb())"
    feed = LogFeed(queue)
    feed.select(job.id)
    message = feed.message()
    assert message is not None
    assert (message["call"], message["result"], message["error"]) == ("detonate(Bomb())", job.result_repr, None)
    assert serializers.job(queue, job.id, display=True)["display"] == "detonate(Bomb())"
    assert len([*serializers.history(queue, job.id, output=True)]) == 1
    assert len(queue.jobs()) == len(queue.results()) == 1
    assert job.to_dict()["state"] == "completed"
    assert job.log() == "boom\n"
    assert not marker.exists()
    with contextlib.suppress(JobFailed):
        job.result()
    assert marker.exists()


# ---------------------------------------------------------------------- jobs as arguments


def test_jobs_as_arguments(served: Queue) -> None:
    """A job or batch stands for its value, also directly in a list, tuple or dict, and must complete first."""
    one, two = served.submit(add, 0), served.submit(add, 1)
    batch = served.map(add, [10, 20], chunksize=2)
    job = served.submit(lambda *args, **kwargs: (args, kwargs), one, [two, 5], {"k": one}, (two,), batch, late=batch)
    assert job.result(TIMEOUT_S) == ((1, [2, 5], {"k": 1}, (2,), [11, 21]), {"late": [11, 21]})
    assert job.after == (one.id, two.id, *batch.ids)
    command = served.enqueue("echo '{\"lr\": 1}' > $QUEUECTL_RESULT")
    assert served.submit(dict, command).result(TIMEOUT_S) == {"lr": 1}


def test_a_failed_dependency_cancels(served: Queue) -> None:
    """A job whose argument has no value is cancelled, with the reason."""
    failing = served.task(fail, max_retries=1).submit("first")
    job = served.submit(add, failing)
    with pytest.raises(JobCancelled, match=failing.id):
        job.result(TIMEOUT_S)


def test_calls_that_do_not_fit_are_refused(queue: Queue) -> None:
    """At once, with the parameters and what was given; a wrapper may have other parameters than what it wraps."""

    def train(lr: float, /, epochs: int = 3, *, seed: int = 0) -> None: ...

    @functools.wraps(train)
    def connected(*args: Any, **keywords: Any) -> None:
        train(0.1, *args, **keywords)

    start = r"train\(lr, /, epochs, \*, seed\) cannot be called with "
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: queue.map(train, pd.DataFrame({"zz": [1], "seed": [2]})), "the keywords zz, seed: missing .*'lr'"),
        (lambda: queue.submit(train), "no arguments: missing"),
        (lambda: queue.submit(train, 1, 2, 3), r"3 positional argument\(s\): too many"),
        (lambda: queue.map(train, [1], [2], [3], chunksize=2), r"3 positional argument\(s\): too many"),
        (lambda: queue.submit(train, 1, zz=2), "1 positional .* the keywords zz: got an unexpected .* 'zz'$"),
        (lambda: queue.submit(train, 1, tags=["a"]), r".*; an option of the job: q\.task\(train, tags="),
    ]
    for given, text in calls:
        with pytest.raises(BadInput, match=start + text):
            given()
    assert queue.jobs().empty
    batch = [queue.submit(connected, 5), queue.submit(max, 1, 2), queue.submit(dict, a=1), queue.submit(train, queue)]
    assert len(batch) == len(queue.jobs())


def test_jobs_of_other_queues_are_refused(served: Queue, tmp_path: Path) -> None:
    """A job of another queue is no argument: nothing could wait for it."""
    other = Queue(tmp_path / "other.db").enqueue("true")
    with pytest.raises(BadInput, match=r"job job-1 is in another queue, .*; pass its value: job\.result\(\)"):
        served.submit(add, other)


# ---------------------------------------------------------------------- map


def test_map(served: Queue) -> None:
    """``map`` adds a job per call, in one transaction, and has the values in order."""
    batch = served.map(add, [1, 2, 3], [10, 20])
    assert [job.command for job in batch] == ["add(1, 10)", "add(2, 20)"]
    assert batch.results(TIMEOUT_S) == [11, 22]
    frame = pd.DataFrame({"x": [1, 2], "y": [0.5, 0.25]})
    assert served.map(add, frame).results(TIMEOUT_S) == [1.5, 2.25]
    assert len(served.map(add, [])) == 0
    assert served.map(add, []).results(TIMEOUT_S) == []
    with pytest.raises(BadInput, match="columns of the DataFrame must be names of parameters, not 0"):
        served.map(add, pd.DataFrame([[1]]))
    with pytest.raises(BadInput, match="chunksize must be"):
        served.map(add, [1], chunksize=0)


def test_chunks(served: Queue) -> None:
    """A chunk repeats only the calls that failed, and has a value per call."""

    def count(path: str, x: int) -> int:
        with open(path, "a") as file:
            file.write(f"{x}\n")
        job = current_job()
        assert job is not None
        if x == 1 and job.attempt == 1:
            raise ValueError(x)
        return x * 10

    path = f"{served.path}.calls"
    batch = served.map(count, [path] * 5, range(5), chunksize=3)
    assert [job.command for job in batch] == [f"count({path!r}, 0) and 2 more", f"count({path!r}, 3) and 1 more"]
    assert batch.results(TIMEOUT_S) == [0, 10, 20, 30, 40]
    with open(path) as file:
        assert sorted(map(int, file)) == [0, 1, 1, 2, 3, 4]
    assert batch[0].history[0].error == "1 of 3 calls failed: ValueError: 1"


def test_results_of_a_batch() -> None:
    """``results`` has a row per call: parameters, state, time, memory, and the value; a column per key of dicts."""
    queue = Queue.inline()

    def train(rate: float, epochs: int = 3, *, name: object = "a") -> dict[str, object]:
        return {"loss": rate / epochs, "at": pd.Timestamp(0)}

    frame = queue.results(queue.map(train, [0.5, 1.0, 0.0], [1, 2, 0], chunksize=2))
    assert list(frame.columns) == ["rate", "epochs", "job_id", "state", "ran", "max_rss_bytes", "loss", "at"]
    assert frame.loss.to_list()[:2] == [0.5, 0.5]
    assert frame[["rate", "epochs"]].to_numpy().tolist() == [[0.5, 1], [1, 2], [0, 0]]
    assert frame.state.to_list() == ["completed", "completed", "dead"]
    assert frame.loss.isna().to_list() == [False, False, True]
    job = queue.submit(abs, -1)
    named = queue.task(train, max_retries=1).submit(rate=2, name=job)
    frame = queue.results(Batch(queue, [named.id, job.id]))
    assert (frame.name[0], frame.result[1]) == (job.id, 1)
    frame = queue.results(queue.map(train, [1.5, None], [1, None]))
    assert frame.dtypes[["rate", "epochs"]].astype(str).to_list() == ["float64", "Int64"]
    assert queue.results(queue.enqueue_many([{"command": "true"}])).command.to_list() == ["true"]


def test_values_of_deleted_jobs(served: Queue) -> None:
    """A finished job that was deleted keeps its state, but its value and artifacts are gone."""
    jobs = served.map(abs, [-1, -2])
    assert jobs.results() == [1, 2]
    job = jobs[0].wait()
    served.delete(job)
    assert job.state == "completed"
    for read in (job.result, jobs.results, lambda: job.artifacts):
        with pytest.raises(NotFound, match=f"no job {job.id} "):
            read()
    frame = served.results(jobs)
    assert frame.state.isna().to_list() == [True, False]
    assert frame.result.iloc[1] == 2


def test_exceptions_of_a_batch(served: Queue) -> None:
    """The first exception is raised, or all of them are returned in place of their values."""
    batch = served.task(lambda x: 1 / x, max_retries=1).map([1, 0, 2, 0], chunksize=2)
    with pytest.raises(ZeroDivisionError):
        batch.results(TIMEOUT_S)
    found = batch.results(return_exceptions=True)
    assert [type(each) for each in found] == [float, ZeroDivisionError, float, ZeroDivisionError]


# ---------------------------------------------------------------------- tasks


def test_task(served: Queue) -> None:
    """A decorated function is still a function; its jobs have the options."""

    @served.task(priority=5, tags=["train"], timeout="1h")
    def train(rate: float, epochs: int = 3) -> float:
        """Train."""
        return rate * epochs

    assert train(0.5) == 1.5
    assert (getattr(train, "__name__", ""), train.__doc__) == ("train", "Train.")
    job = train.submit(0.5, epochs=4)
    assert (job.priority, job.tags, job.timeout, job.command) == (5, ("train",), 3600, "train(0.5, epochs=4)")
    assert job.result(TIMEOUT_S) == 2.0
    assert served.task(train, priority=6).submit(1).priority == 6
    assert pickle.loads(pickle.dumps(served.task(add))).submit(1).result(TIMEOUT_S) == 2
    assert isinstance(train, Task)
    with pytest.raises(BadInput, match="job option 'prio' is unknown"):
        served.task(add, prio=1)
    with pytest.raises(BadInput, match="priority must be"):
        served.task(add, priority="high").submit(1)


def test_keywords_are_the_functions(served: Queue) -> None:
    """Keywords of ``submit`` go to the function, also those that name an option of a job."""
    assert served.submit(lambda **names: names, timeout=5, priority=1).result(TIMEOUT_S) == {
        "timeout": 5,
        "priority": 1,
    }
    assert served.submit(lambda self, function: (self, function), self=1, function=2).result(TIMEOUT_S) == (1, 2)


def test_current_job(served: Queue) -> None:
    """Inside of a job its id and attempt are known; outside there is none."""
    assert current_job() is None
    job = served.submit(current_job)
    found = job.result(TIMEOUT_S)
    assert found[:3] == (job.id, 1, 3)
    assert found.artifacts.parent == served.store.spool.folder


def test_await(served: Queue) -> None:
    """Awaiting a job gives the job."""

    async def wait() -> Any:
        return (await served.submit(add, 1)).result()

    assert asyncio.run(wait()) == 2


def test_run_pending_runs_functions(queue: Queue) -> None:
    """Without workers, ``run_pending`` runs functions in processes of their own, too."""
    job = queue.submit(os.getpid)
    failing = queue.task(fail, max_retries=1).submit("no")
    assert [each.id for each in run_pending(queue)] == [job.id, failing.id]
    assert job.result() != os.getpid()
    with pytest.raises(ValueError, match="no"):
        failing.result()
