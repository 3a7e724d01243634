"""joblib's Parallel on the queue."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import joblib
import numpy as np
import pytest

from queuectl_nb import BadEnvironment, BadInput, Queue, register_joblib_backend
from tests.client.job_functions import add, fail_beside
from tests.engine.harness import until


@pytest.fixture(autouse=True, scope="module")
def _backend() -> None:
    register_joblib_backend()


def parallel(db: Queue, **options: Any) -> joblib.parallel_config:
    """Return the context in which joblib uses the queue."""
    return joblib.parallel_config(backend="queuectl", db=db, max_retries=1, **options)


def test_values(served: Queue) -> None:
    """Calls are jobs with the given options, in batches; values come in order, also from a generator."""
    with parallel(served, tags=["fit"]):
        assert joblib.effective_n_jobs(-1) == 2
        assert joblib.Parallel()(joblib.delayed(add)(n, y=n) for n in range(20)) == [2 * n for n in range(20)]
        found = joblib.Parallel(return_as="generator", batch_size=5)(joblib.delayed(add)(n) for n in range(10))
        assert list(found) == list(range(1, 11))
    jobs = served.jobs(tag="fit")
    assert set(jobs.state) == {"completed"}
    assert "run_batch(2 x add)" in set(jobs.command)


def test_n_jobs(served: Queue) -> None:
    """``n_jobs`` is at most the number of workers; 1 makes the calls here."""
    with parallel(served):
        assert [joblib.effective_n_jobs(n) for n in (1, 2, 5, -1, -2)] == [1, 2, 2, 2, 2]
        assert joblib.Parallel(n_jobs=1)([joblib.delayed(os.getpid)()]) == [os.getpid()]
        assert joblib.Parallel(n_jobs=2)([joblib.delayed(os.getpid)()]) != [os.getpid()]
        with joblib.Parallel(n_jobs=2) as reused:
            for _ in range(2):
                assert reused(joblib.delayed(add)(n) for n in range(3)) == [1, 2, 3]


def test_large_arguments_are_shared(served: Queue) -> None:
    """An array that many calls have is stored once, and is an argument of each of them."""
    array = np.arange(50_000.0)
    with parallel(served):
        found = joblib.Parallel(batch_size=2)(joblib.delayed(np.take)(array, n) for n in range(8))
    assert found == list(range(8))
    sizes = [row["size"] for row in served.db["blobs"].rows_where("body IS NULL")]
    assert sum(size > array.nbytes for size in sizes) == 1


def test_exception_cancels_the_others(served: Queue) -> None:
    """The first exception is raised with its traceback; waiting and running jobs are cancelled."""
    calls = [joblib.delayed(fail_beside)("bad rate", "aborted", 5), *[joblib.delayed(time.sleep)(600)] * 4]
    with parallel(served, tags=["aborted"]), pytest.raises(ValueError, match="bad rate") as caught:
        joblib.Parallel(batch_size=1, pre_dispatch="all")(calls)
    assert "in fail" in str(caught.value.__cause__)
    until(lambda: sorted(served.jobs(tag="aborted").state) == ["cancelled"] * 4 + ["dead"])


def test_argument_that_cannot_be_pickled(served: Queue) -> None:
    """It is refused, wherever in the calls it is."""
    calls = [joblib.delayed(add)(n if n < 9 else threading.Lock()) for n in range(10)]
    with parallel(served), pytest.raises(BadInput, match=r"argument batch of run_batch cannot be pickled: .*lock"):
        joblib.Parallel(batch_size=1)(calls)


def test_nested_parallelism(served: Queue) -> None:
    """Parallel within a job uses threads: jobs that wait for others could take all workers."""

    def nested(n: int) -> tuple[list[float], str]:
        inner = joblib.Parallel(n_jobs=2)
        return inner(joblib.delayed(add)(n, k) for k in range(3)), type(inner._backend).__name__

    with parallel(served):
        found = joblib.Parallel(batch_size=1)(joblib.delayed(nested)(n) for n in range(2))
    assert found == [([0, 1, 2], "ThreadingBackend"), ([1, 2, 3], "ThreadingBackend")]


def test_without_workers(served: Queue, queue: Queue) -> None:
    """Without workers, calls would wait for ever: an error says so. Invalid options are refused."""
    with parallel(queue), pytest.raises(BadEnvironment, match=r"no workers serve queue default .*start_workers"):
        joblib.Parallel()([joblib.delayed(add)(1)])
    with parallel(served, queue="gpu"):  # workers without names of queues serve all of them
        assert joblib.Parallel()([joblib.delayed(add)(1)]) == [2]
    with pytest.raises(BadInput, match="job option 'prio' is unknown"), parallel(served, prio=1):
        pass


def test_joblib_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without joblib all names of the package can be imported; the backend says what to install."""
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(BadEnvironment, match=r"joblib is not installed here: pip install 'queuectl-nb\[joblib\]'"):
        register_joblib_backend()
