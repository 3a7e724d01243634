"""What must not end a pool, a worker or whoever listens to them: troubles that pass, and mistakes of others."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from queuectl_nb.client.pool import WorkerPool
from queuectl_nb.engine import notifier
from queuectl_nb.engine.config import WorkerConfig
from queuectl_nb.engine.control import POLL_INTERVAL_S
from queuectl_nb.engine.worker_process import WorkerProcess
from queuectl_nb.model.state import State
from tests.engine.harness import alive, read_pid, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from queuectl_nb.client import Queue
    from queuectl_nb.engine.events import Events
    from tests.engine.harness import WorkerHarness


def test_a_spoilt_setting_keeps_no_lost_job_from_its_rescue(harness: WorkerHarness, tmp_path: Path) -> None:
    """While a setting is spoilt a pool still rescues what another pool, killed with its worker, has held."""
    pids = tmp_path / "pids"
    job = harness.add(f"echo $$ >> {pids}; [ $(wc -l < {pids}) -gt 1 ] || sleep 60")
    lost = harness.start()
    read_pid(pids)
    until(lambda: job.history[0].pid)
    harness.start(queues=["other"])
    harness.add("true", queue="other").wait(timeout=20)
    with harness.queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('timeout', 'banana')")
    until(lambda: harness.events("warning", worker="worker-2"))
    for pid in (lost.pid, harness.worker_pid("worker-1")):
        os.kill(pid, signal.SIGKILL)
    until(lambda: harness.events("rescued", job=job.id))
    assert job.refresh().state is State.FAILED
    assert harness.events("warning", worker="pool") == []


def test_a_worker_that_cannot_be_started_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for one more process, a replacement is tried again, ever later; the pool lives on."""
    told: list[dict[str, Any]] = []
    events = cast("Events", SimpleNamespace(emit=lambda event, **facts: told.append({"event": event, **facts})))

    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    worker, config = WorkerProcess("worker-1", 0), WorkerConfig(db=tmp_path / "queue.db")
    for _ in range(3):
        assert worker.start(config, events) is None
        assert worker.process is None
    assert [each["event"] for each in told] == ["worker_died"] * 3
    assert told[0]["why"] == "not started: Resource temporarily unavailable"
    assert told[0]["restart_in"] < told[1]["restart_in"] < told[2]["restart_in"]


def test_a_mistake_in_on_event_makes_nobody_deaf(harness: WorkerHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever listens and fails is told so, and hears the next event; the pool starts and ends as ever."""
    heard: list[str] = []

    def fail(event: dict[str, Any]) -> None:
        heard.append(event["event"])
        raise ZeroDivisionError

    with harness.queue.start_workers(1, on_event=fail):
        harness.add("true").wait(timeout=20)
    until(lambda: "worker_stopped" in heard)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_lines_that_are_not_events_are_ignored(queue: Queue) -> None:
    """A line that another program in a worker's process has printed is neither an event nor an error."""
    pool = WorkerPool(queue, WorkerConfig(db=queue.path))
    read, write = os.pipe()
    os.write(write, b'42\n"text"\n[]\n{}\nhello\n{"event":"warning","text":"heard"}\n')
    os.close(write)
    pool._read(read)
    assert list(pool.troubles) == ["pool: heard"]


def test_a_bell_whose_listener_leaves_at_that_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ringing does not fail where the last listener goes between look and ring."""
    bell = tmp_path / "bell"
    listener = notifier.open_fifo(bell)
    look = os.fstat
    with monkeypatch.context() as at_that_moment:
        at_that_moment.setattr(os, "fstat", lambda handle: (look(handle), os.close(listener))[0])
        notifier.notify(bell)


def test_no_job_outlives_a_worker_that_cannot_use_the_file(harness: WorkerHarness, tmp_path: Path) -> None:
    """When the file is spoilt and the pool is killed, a worker ends what it runs before it goes, TERM or not."""
    first = tmp_path / "pid"
    job = harness.add(f"echo $$ > {first}; trap '' TERM; while :; do sleep 0.1; done")
    pool = harness.start()
    shell = read_pid(first)
    until(lambda: job.history[0].pid)  # it writes no more: one that stands still within a write keeps all others out
    worker = harness.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    stopped = time.monotonic()
    with harness.queue.store.db.write() as connection:
        connection.execute("DROP TABLE settings")
    os.kill(pool.pid, signal.SIGKILL)
    until(lambda: time.monotonic() - stopped > POLL_INTERVAL_S)  # then it looks before it does anything else
    os.kill(worker, signal.SIGCONT)
    until(lambda: not alive(worker))
    assert not alive(shell)


def test_an_orphan_does_not_wait_for_a_busy_file(harness: WorkerHarness, tmp_path: Path) -> None:
    """A worker whose pool is gone leaves although it cannot record: its journal tells the next pool what became."""
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
    job.wait(timeout=20)
    assert (job.state, harness.outcomes(job)) == (State.COMPLETED, ["returned", "succeeded"])
