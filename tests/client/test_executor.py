"""The executor: futures of jobs, with the semantics of ``concurrent.futures``."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb import BadInput, JobFailed, NotFound, Queue, WaitTimeout
from queuectl_nb.testing import temporary_queue
from tests.client.job_functions import UnpickleFails, add, fail, segfault
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def served() -> Iterator[Queue]:
    """Return a queue with one worker."""
    with temporary_queue() as queue:
        queue.set("backoff_max", 0)
        with queue.start_workers(1):
            yield queue


def test_values_and_exceptions(served: Queue) -> None:
    """Futures have the values and exceptions of their jobs; callbacks are called."""
    called = threading.Event()
    with served.executor(max_retries=1, priority=3) as executor:
        future = executor.submit(add, 1, y=2)
        future.add_done_callback(lambda _: called.set())
        failing = executor.submit(fail, "no")
        crashing = executor.submit(segfault)
        assert future.result(TIMEOUT_S) == 3
        with pytest.raises(ValueError, match="no"):
            failing.result(TIMEOUT_S)
        with pytest.raises(JobFailed, match="SIGSEGV"):
            crashing.result(TIMEOUT_S)
        assert list(executor.map(add, range(5), range(5), timeout=TIMEOUT_S)) == [0, 2, 4, 6, 8]
    assert called.wait(TIMEOUT_S)
    assert set(served.jobs().priority) >= {3}
    done, rest = concurrent.futures.wait([future, failing, crashing], TIMEOUT_S)
    assert (len(done), len(rest)) == (3, 0)


def test_map_packs_calls(served: Queue) -> None:
    """``map`` adds its jobs in one transaction, ``chunksize`` calls each; a timeout cancels those that wait."""
    served.pause()
    try:
        with served.executor() as executor:
            before = len(served.jobs())
            values = executor.map(add, range(5), [10] * 5, timeout=TIMEOUT_S, chunksize=2)
            assert len(served.jobs()) == before + 3
            slow = executor.map(add, [1], timeout=0)
            with pytest.raises(TimeoutError):
                next(slow)
            assert served.jobs(sort="created_at").state.iloc[-1] == "cancelled"
            served.resume()
            assert list(values) == [10, 11, 12, 13, 14]
            failing = executor.map(lambda x: 1 / x, [1, 0, 1], chunksize=1)
            assert next(failing) == 1
            failing.close()  # type: ignore[attr-defined]
    finally:
        served.resume()


def test_a_value_that_cannot_be_loaded_fails_its_future_only(served: Queue) -> None:
    """Other futures of the executor are not affected, nor other calls of a batch."""
    with served.executor() as executor:
        bad, good = executor.submit(UnpickleFails), executor.submit(add, 1)
        with pytest.raises(JobFailed, match="cannot be unpickled here: RuntimeError: not here"):
            bad.result(TIMEOUT_S)
        assert good.result(TIMEOUT_S) == 2
    found = served.map(UnpickleFails, range(2), chunksize=2).results(TIMEOUT_S, return_exceptions=True)
    assert [type(each) for each in found] == [JobFailed, JobFailed]


def test_shutdown(served: Queue) -> None:
    """After ``shutdown`` nothing is accepted, and what was accepted finishes."""
    executor = served.executor()
    futures = [executor.submit(add, n) for n in range(3)]
    executor.shutdown()
    assert [future.result(0) for future in futures] == [1, 2, 3]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(add, 1)


def test_interrupts(served: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Futures settle after an interrupt of a submit or of a shutdown, and another shutdown waits for them."""
    executor = served.executor()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            executor.submit(add, 1)
    future = executor.submit(add, 2)
    assert future.result(TIMEOUT_S) == 3
    future = executor.submit(time.sleep, 0.3)
    with monkeypatch.context() as patch:
        patch.setattr(concurrent.futures, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            executor.shutdown()
    executor.shutdown()
    assert future.done()


def test_a_callback_cannot_wait_for_other_futures(served: Queue) -> None:
    """It would wait for ever, because the thread that calls it settles them; they settle all the same."""
    executor, errors = served.executor(), []

    def shut_down(_: object) -> None:
        try:
            executor.shutdown()
        except RuntimeError as error:
            errors.append(f"{error}")

    first, second = executor.submit(add, 1), executor.submit(time.sleep, 0.5)
    first.add_done_callback(shut_down)
    assert second.result(TIMEOUT_S) is None
    assert errors == ["a callback cannot wait for other futures; use shutdown(wait=False)"]
    executor.shutdown()


def interrupt(*_: object) -> None:
    """Interrupt the caller."""
    raise KeyboardInterrupt


def test_cancel(served: Queue) -> None:
    """A waiting call can be cancelled, a running one cannot; so do ``cancel_futures`` and other processes."""
    executor = served.executor()
    running = executor.submit(time.sleep, 60)
    waiting, second, third = (executor.submit(add, n) for n in range(3))
    until(running.running)
    assert not running.cancel()
    until(waiting.cancel)  # its worker may have claimed it with the one that runs, and will release it
    assert waiting.cancelled()
    served.cancel(second.job)  # type: ignore[attr-defined]
    until(second.cancelled)
    executor.shutdown(wait=False, cancel_futures=True)
    assert third.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        third.result(0)
    served.cancel(running.job)  # type: ignore[attr-defined]
    with pytest.raises(concurrent.futures.CancelledError):
        running.result(TIMEOUT_S)


def test_a_deleted_job_fails_its_future(served: Queue) -> None:
    """A future never waits for a job that is gone."""
    executor = served.executor(delay=3600)
    future = executor.submit(add, 1)
    served.delete(future.job)  # type: ignore[attr-defined]
    with pytest.raises(NotFound, match="was deleted"):
        future.result(TIMEOUT_S)
    executor.shutdown()


def test_own_workers() -> None:
    """``workers`` starts workers that stop with the executor."""
    with temporary_queue() as queue:
        with queue.executor(workers=1) as executor:
            assert executor.submit(add, 1).result(TIMEOUT_S) == 2
        until(lambda: queue.workers().empty)


def test_invalid_options(served: Queue) -> None:
    """Unknown options are refused when the executor is made."""
    with pytest.raises(BadInput, match="job option 'prio' is unknown"):
        served.executor(prio=1)


def test_as_completed(served: Queue) -> None:
    """Jobs come as they finish, however they end; a timeout raises."""
    slow = served.submit(time.sleep, 60)
    until(lambda: slow.state == "processing")
    waiting = served.submit(add, 1)
    found = served.as_completed([slow, waiting], timeout=TIMEOUT_S)
    slow.cancel()
    assert [job.id for job in found] == [slow.id, waiting.id]
    assert list(served.as_completed([])) == []
    with pytest.raises(WaitTimeout):
        list(served.as_completed([served.task(add, delay=3600).submit(1)], timeout=0))
