"""Faults that must not end a supervisor, a worker or a reader of events."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from queuectl_nb.client.pool import WorkerPool
from queuectl_nb.engine import notifier, worker_process
from queuectl_nb.engine.config import WorkerConfig
from queuectl_nb.engine.control import POLL_INTERVAL_S
from queuectl_nb.engine.worker_process import WorkerProcess
from queuectl_nb.model.state import State
from tests.engine.harness import alive, read_pid, until

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.client import Queue
    from queuectl_nb.engine.events import Events
    from tests.engine.harness import WorkerHarness


def test_invalid_setting_does_not_prevent_a_rescue(harness: WorkerHarness, tmp_path: Path) -> None:
    """A supervisor rescues jobs of another one even if a stored setting is invalid."""
    pids = tmp_path / "pids"
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || sleep 60")
    lost = harness.start()
    read_pid(pids)
    until(lambda: job.history[0].pid)
    harness.start(queues=["other"])
    harness.add("true", queue="other").wait(timeout=60)
    with harness.queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('timeout', 'banana')")
    until(lambda: harness.events("warning", worker="worker-2"))
    for pid in (lost.pid, harness.worker_pid("worker-1")):
        os.kill(pid, signal.SIGKILL)
    until(lambda: harness.events("rescued", job=job.id))
    assert job.refresh().state is State.FAILED
    assert harness.events("warning", worker="pool") == []


@pytest.mark.parametrize("forked", [False, True])
def test_worker_that_cannot_be_started_is_retried(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, *, forked: bool
) -> None:
    """If no process can be started, the start is retried with growing delays."""
    emitted: list[dict[str, Any]] = []
    events = cast("Events", SimpleNamespace(emit=lambda event, **facts: emitted.append({"event": event, **facts})))

    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(worker_process, "can_fork", lambda: forked)
    monkeypatch.setattr(os if forked else subprocess, "fork" if forked else "Popen", fail)
    worker, config = WorkerProcess("worker-1", 0), WorkerConfig(db=queue.path)
    for _ in range(3):
        assert worker.start(queue.store, config, events) is None
        assert worker.process is None
    assert [each["event"] for each in emitted] == ["worker_died"] * 3
    assert emitted[0]["why"] == "not started: Resource temporarily unavailable"
    assert emitted[0]["restart_in"] < emitted[1]["restart_in"] < emitted[2]["restart_in"]


def test_exception_in_on_event_does_not_stop_events(harness: WorkerHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """An exception in ``on_event`` is printed, and further events are delivered."""
    received: list[str] = []

    def fail(event: dict[str, Any]) -> None:
        received.append(event["event"])
        raise ZeroDivisionError

    with harness.queue.start_workers(1, on_event=fail):
        harness.add("true").wait(timeout=60)
    until(lambda: "worker_stopped" in received)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_lines_that_are_not_events_are_ignored(queue: Queue) -> None:
    """A line printed by another program in a worker's process is neither an event nor an error."""
    pool = WorkerPool(queue, WorkerConfig(db=queue.path))
    read, write = os.pipe()
    os.write(write, b'42\n"text"\n[]\n{}\nhello\n{"event":"warning","text":"text"}\n')
    os.close(write)
    pool._read(read)
    assert list(pool.troubles) == ["pool: text"]


def test_notify_while_the_last_reader_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notifying does not fail if the last reader closes the FIFO at that moment."""
    fifo = tmp_path / "fifo"
    listener = notifier.open_fifo(fifo)
    fstat = os.fstat

    def close_and_stat(handle: int) -> os.stat_result:
        os.close(listener)
        return fstat(handle)

    with monkeypatch.context() as at_that_moment:
        at_that_moment.setattr(os, "fstat", close_and_stat)
        notifier.notify(fifo)


def test_job_does_not_outlive_a_worker_that_cannot_use_the_file(harness: WorkerHarness, tmp_path: Path) -> None:
    """If the database is broken and the supervisor dead, the worker kills its job before it exits."""
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; trap '' TERM; while :; do sleep 0.1; done")
    pool = harness.start()
    shell = read_pid(first)
    until(lambda: job.history[0].pid)
    worker = harness.freeze()
    stopped = time.monotonic()
    with harness.queue.store.db.write() as connection:
        connection.execute("DROP TABLE settings")
    os.kill(pool.pid, signal.SIGKILL)
    until(lambda: time.monotonic() - stopped > POLL_INTERVAL_S)  # its next poll is due
    os.kill(worker, signal.SIGCONT)
    until(lambda: not alive(worker))
    assert not alive(shell)


def test_orphaned_worker_does_not_wait_for_a_busy_database(harness: WorkerHarness, tmp_path: Path) -> None:
    """A worker without a supervisor exits with its result in the journal, which the next supervisor records."""
    pids = tmp_path / "pids"
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || sleep 60")
    pool = harness.start()
    shell = read_pid(pids)
    worker = harness.worker_pid()
    until(lambda: job.history[0].pid)
    with harness.queue.store.db.write():
        os.kill(pool.pid, signal.SIGKILL)
        until(lambda: not alive(worker))
        assert not alive(shell)
    harness.start()
    job.wait(timeout=60)
    assert (job.state, harness.outcomes(job)) == (State.COMPLETED, ["returned", "succeeded"])
