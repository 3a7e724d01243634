"""CPython's own tests of executors, run on the queue's. Skipped where the interpreter has no ``test`` package.

Some cannot apply:

- ``test_max_workers_negative``: the option is ``workers``, and there may be none; see ``test_executor.py``.
- ``test_interpreter_shutdown``, ``test_submit_after_interpreter_shutdown``, ``test_hang_gh83386``: programs that import
  an executor from ``concurrent.futures`` and end before its calls. Jobs survive their program.
- ``test_cancel_futures``: expects that a call begins before 50 are submitted; see ``test_executor.py``.
- ``test_hang_gh94440``: sets a timer that pytest-timeout uses.
- The tests of ``ProcessPoolExecutor`` and ``ThreadPoolExecutor`` alone: their threads, processes and initializers.
"""

from __future__ import annotations

import unittest
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.testing import temporary_queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb import Queue

WORKERS = 2


def generic(module: str, name: str) -> Any:
    """Return a class of CPython's tests: in a package since 3.12, in one file before."""
    for place in (f"test.test_concurrent_futures.{module}", "test.test_concurrent_futures"):
        try:
            return getattr(import_module(place), name)
        except (ImportError, AttributeError):
            continue
    pytest.skip("this interpreter was installed without CPython's tests", allow_module_level=True)


@pytest.fixture(scope="module")
def served() -> Iterator[Queue]:
    """Return a queue with workers."""
    with temporary_queue() as queue, queue.start_workers(WORKERS):
        yield queue


class OnQueue(unittest.TestCase):
    """Gives each test an executor on the queue of the module."""

    worker_count = WORKERS
    executor: Any
    test_max_workers_negative = None
    test_interpreter_shutdown = None
    test_submit_after_interpreter_shutdown = None
    test_hang_gh83386 = None
    test_cancel_futures = None
    test_hang_gh94440 = None

    @pytest.fixture(autouse=True)
    def _executor(self, served: Queue) -> Iterator[None]:
        with served.executor(max_retries=1) as self.executor:
            yield


class TestExecutor(OnQueue, generic("executor", "ExecutorTest")):  # type: ignore[misc]
    """Calls, keywords, ``map``, exceptions, timeouts, references."""


class TestShutdown(OnQueue, generic("test_shutdown", "ExecutorShutdownTest")):  # type: ignore[misc]
    """``shutdown``."""


@pytest.mark.soak  # 10 seconds of sleep
class TestWait(OnQueue, generic("test_wait", "WaitTests")):  # type: ignore[misc]
    """``concurrent.futures.wait``."""


@pytest.mark.soak
class TestAsCompleted(OnQueue, generic("test_as_completed", "AsCompletedTests")):  # type: ignore[misc]
    """``concurrent.futures.as_completed``."""
