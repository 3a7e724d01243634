"""Restart decisions of the supervisor after a worker process has exited."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from types import SimpleNamespace
from typing import cast

import pytest

from queuectl_nb.engine.events import Events
from queuectl_nb.engine.worker_process import KILL_MARGIN_S, LEAVE_MARGIN_S, MAX_RESTART_DELAY_S, WorkerProcess

NO_EVENTS = Events(os.open(os.devnull, os.O_WRONLY))


def exit_with(worker: WorkerProcess, command: str, *, gone: bool = False, events: Events = NO_EVENTS) -> int:
    """Let the worker's process exit by running ``command``, and record its exit."""
    worker.process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, bufsize=0)
    worker._started_at = time.monotonic()
    worker.process.wait()
    return worker.on_exit(events, gone=gone)


def test_exit_code_0_retires_the_worker() -> None:
    """A worker that was asked to stop is not restarted."""
    worker = WorkerProcess("worker-1", 0)
    assert exit_with(worker, "exit 0") == 0
    assert worker.retiring
    assert worker.process is None
    assert not worker.settled


def test_restart_delay_doubles_up_to_the_maximum() -> None:
    """The first death causes an immediate restart; the delay doubles with each further one."""
    worker = WorkerProcess("worker-1", 0)
    delays: list[float] = []
    events = cast("Events", SimpleNamespace(emit=lambda _, **fields: delays.append(fields["restart_in"])))
    for _ in range(12):
        assert exit_with(worker, "kill -9 $$", events=events) == -signal.SIGKILL
        assert not worker.retiring
        assert worker.restart_at <= time.monotonic() + delays[-1]
    assert delays[:4] == [0.0, 0.1, 0.2, 0.4]
    assert delays == sorted(delays)
    assert delays[-1] == MAX_RESTART_DELAY_S


def test_first_worker_that_cannot_use_the_file_is_not_restarted() -> None:
    """The starter gets the error instead of waiting for retries."""
    worker = WorkerProcess("worker-1", 0)
    assert exit_with(worker, "exit 3") == 3
    assert worker.retiring


def test_replacement_that_cannot_use_the_file_is_retried() -> None:
    """After a death, a replacement that cannot use the file is restarted, unless the file is gone."""
    worker = WorkerProcess("worker-1", 0)
    exit_with(worker, "kill -9 $$")
    exit_with(worker, "exit 3")
    assert not worker.retiring
    exit_with(worker, "exit 3", gone=True)
    assert worker.retiring


def test_no_restart_while_stopping() -> None:
    """A death during a stop schedules no restart."""
    worker = WorkerProcess("worker-1", 0)
    worker.request_stop("drain", grace=0)
    exit_with(worker, "kill -9 $$")
    assert worker.retiring
    assert worker.restart_at == 0


def test_the_first_request_to_stop_now_sets_the_deadlines() -> None:
    """A drain sets none; repeated and weaker requests change nothing; a dead starter shortens the grace."""
    worker = WorkerProcess("worker-1", 0)
    worker.request_stop("drain", grace=60)
    assert (worker.stop, worker.kill_at, worker.leave_at) == ("drain", math.inf, math.inf)
    worker.request_stop("now", grace=60)
    began = time.monotonic()
    assert worker.kill_at <= began + 60 + KILL_MARGIN_S
    assert worker.leave_at <= began + 60 + LEAVE_MARGIN_S
    deadlines = worker.kill_at, worker.leave_at
    worker.request_stop("drain", grace=0)
    worker.request_stop("now", grace=0)
    assert (worker.stop, worker.kill_at, worker.leave_at) == ("now", *deadlines)
    worker.request_stop("orphaned", grace=1)
    assert worker.kill_at < began + 60
    worker.request_stop("now", grace=0)
    assert worker.stop == "orphaned"


def test_on_exit_needs_an_exited_process() -> None:
    """Calling ``on_exit`` for a running worker is an error."""
    with pytest.raises(RuntimeError, match="worker-1 is still running"):
        WorkerProcess("worker-1", 0).on_exit(NO_EVENTS, gone=False)
