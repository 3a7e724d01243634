"""Small parts of the engine: notifier, events, journal, locks, poller."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb import Queue
from queuectl_nb.engine import heartbeat, notifier
from queuectl_nb.engine.events import Events
from queuectl_nb.engine.outcome_journal import OutcomeJournal, read_journal
from queuectl_nb.engine.poller import Poller
from queuectl_nb.engine.work_buffer import WorkBuffer
from queuectl_nb.engine.worker_record import Origin, RecordWriter, WorkerRecord, read_record
from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.model.outcome import (
    Cancelled,
    Exited,
    Lost,
    NotStarted,
    Returned,
    Signalled,
    SignalledWorker,
    TimedOut,
)
from queuectl_nb.store.workers import WorkerRow

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.store.settle import EndedAttempt


def test_errors_are_read_before_the_transaction(tmp_path: Path) -> None:
    """A worker does not hold the write lock of the queue while it reads why attempts failed."""
    seen: list[EndedAttempt] = []

    def refuse(*, ended: list[EndedAttempt], **_: object) -> None:
        seen.extend(ended)
        raise Busy("locked")

    queue = Queue(tmp_path / "queue.db")
    claims: Any = SimpleNamespace(settle_and_claim=refuse)
    events: Any = None
    journal = OutcomeJournal(tmp_path, "worker-1")
    buffer = WorkBuffer(queue.store, claims, journal, events)
    for text in ("first", "second"):
        lease: Any = SimpleNamespace(token=text)
        buffer.add_result(lease, Exited(1), Ending(0.0, stderr=text))
    buffer.explain_newest()
    assert [each.error for each in buffer.results] == [None, "exit code 1: second"]
    assert not buffer.flush(queue.settings, 0)
    assert [each.error for each in seen] == ["exit code 1: first", "exit code 1: second"]
    assert all(each.group is not None and each.group.reason == "exit" for each in seen)
    queue.close()


def test_notify_without_reader_does_nothing(tmp_path: Path) -> None:
    """Without a FIFO or reader, notifying neither blocks nor fails nor creates a file."""
    fifo = tmp_path / "fifo"
    notifier.notify(fifo)
    assert not fifo.exists()
    os.close(notifier.open_fifo(fifo))
    notifier.notify(fifo)


def test_notify_writes_only_to_a_fifo(tmp_path: Path) -> None:
    """Nothing is written to a regular file or through a link."""
    plain, link = tmp_path / "plain", tmp_path / "link"
    plain.touch()
    link.symlink_to(plain)
    notifier.notify(plain)
    notifier.notify(link)
    assert plain.read_bytes() == b""


def test_one_notification_wakes_one_idle_poller(tmp_path: Path) -> None:
    """A notification wakes one of many idle pollers, and is not lost if it comes before the wait."""
    fifo = tmp_path / "fifo"
    woken: list[int] = []
    ready, awake = threading.Semaphore(0), threading.Semaphore(0)
    stop_read, stop_write = os.pipe()

    def wait(number: int) -> None:
        handle = notifier.open_fifo(fifo)
        poller = Poller()
        poller.add("stop", stop_read)
        poller.add_exclusive("fifo", handle)
        ready.release()
        while "stop" not in (names := poller.wait(60, idle=True)):
            if "fifo" in names:
                notifier.drain(handle)
                woken.append(number)
                awake.release()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    for _ in range(3):
        notifier.notify(fifo)
        assert awake.acquire(timeout=60)
    os.write(stop_write, b"x")
    for thread in threads:
        thread.join(10)
    assert len(woken) < 3 * 8


def test_events_never_block_and_report_drops() -> None:
    """Lines arrive complete; a full pipe drops events, reports their number and never blocks."""
    read, write = os.pipe()
    events = Events(write)
    for number in range(5000):
        events.emit("tick", number=number, text="x" * 100)
    events.flush()
    got = os.read(read, 1 << 20)
    lines = [json.loads(line) for line in got.splitlines()]
    assert [line["number"] for line in lines] == list(range(len(lines)))
    events.emit("last")
    events.flush()
    lines = [json.loads(line) for line in os.read(read, 1 << 20).splitlines()]
    assert [line["event"] for line in lines] == ["dropped", "last"]
    assert lines[0]["count"] > 0


def test_events_without_a_reader_are_discarded() -> None:
    """Emitting events does not fail when the reader is gone."""
    read, write = os.pipe()
    events = Events(write)
    os.close(read)
    events.emit("tick")
    events.flush()
    assert not events.has_reader


def test_journal_round_trip(tmp_path: Path) -> None:
    """All kinds of outcomes are read back, cleared and overwritten; a truncated last entry is ignored."""
    endings: dict[str, tuple[Outcome, Ending]] = {
        "a": (Exited(3), Ending(2.0, 1.0, 77, usage=Usage(0.1, 0.2, 3), stdout="ü", stdout_size=2, stderr=b"\xff\0")),
        "b": (Signalled(11), Ending(2.0)),
        "h": (SignalledWorker(15), Ending(2.0)),
        "c": (TimedOut(30.0), Ending(2.0)),
        "d": (NotStarted("gone"), Ending(2.0)),
        "e": (Cancelled(), Ending(2.0)),
        "f": (Returned("why"), Ending(2.0)),
        "g": (Lost("worker-1", "died"), Ending(2.0, result="[1]", note="n")),
        "large": (Exited(0), Ending(2.0, stdout="x", stdout_size=1, result=f'"{"y" * 100_000}"')),
    }
    journal = OutcomeJournal(tmp_path, "w")
    for token, (outcome, ending) in endings.items():
        journal.record(token, outcome, ending)
    assert read_journal(tmp_path, "w") == endings
    journal.clear()
    assert read_journal(tmp_path, "w") == {}
    journal.record("a", *endings["a"])
    assert read_journal(tmp_path, "w") == {"a": endings["a"]}
    assert read_journal(tmp_path, "nobody") == {}


def test_lock_shows_liveness_and_keeps_the_record(tmp_path: Path) -> None:
    """A worker is dead if its lock is free; the record of its last start stays readable."""
    handle, token = heartbeat.take_lock(tmp_path, "w"), "0123456789abcdef" * 2
    assert handle is not None
    assert heartbeat.take_lock(tmp_path, "w") is None
    row = WorkerRow("w", None, "here", 0, (), 0.0, 0, None)
    assert not heartbeat.is_dead(tmp_path, row)
    writer = RecordWriter(handle, "w")
    writer.begin(token)
    writer.started(77)
    os.close(handle)
    assert heartbeat.is_dead(tmp_path, row)
    again = heartbeat.take_lock(tmp_path, "w")
    assert again is not None
    record = read_record(heartbeat.lock_path(tmp_path, "w"))
    assert (record.token, record.pid, record.origin) == (token, 77, Origin.here())
    assert 0 < record.spawn_began_ns <= record.spawn_ended_ns
    assert heartbeat.is_current(again, tmp_path, "w")
    os.unlink(heartbeat.lock_path(tmp_path, "w"))
    assert not heartbeat.is_current(again, tmp_path, "w")
    assert heartbeat.is_dead(tmp_path, row)
    if sys.platform == "linux":
        assert not heartbeat.is_dead(tmp_path, row._replace(pool=os.getpid())), "this process has the removed file open"
    os.close(again)
    if sys.platform == "linux":
        assert heartbeat.is_dead(tmp_path, row._replace(pool=os.getpid()))


def test_new_attempt_clears_the_process_of_the_last_one(tmp_path: Path) -> None:
    """Between the record of an attempt and of its process, the record has no pid."""
    handle = heartbeat.take_lock(tmp_path, "w")
    assert handle is not None
    writer = RecordWriter(handle, "w")
    for token in ("a" * 32, "b" * 32):
        writer.begin(token)
        record = read_record(heartbeat.lock_path(tmp_path, "w"))
        assert (record.token, record.pid) == (token, 0)
        writer.started(77)
    os.close(handle)


def test_record_without_origin_is_readable(tmp_path: Path) -> None:
    """Missing, empty and cut records have no origin."""
    path = tmp_path / "w.lock"
    assert read_record(path) == WorkerRecord()
    for content in (b"", bytes(8), bytes(96) + b"12\nhost\nboot"):
        path.write_bytes(content)
        assert read_record(path) == WorkerRecord()


@pytest.mark.parametrize(
    ("fields", "shares_pids", "may_run_unseen"),
    [
        ({}, True, False),
        ({"pid_namespace": "pid:[1]"}, False, True),
        ({"pid_namespace": "pid:[1]", "host": "container"}, False, True),
        ({"boot": "earlier"}, False, False),
        ({"boot": "other", "host": "other"}, False, True),
    ],
)
def test_origin(fields: dict[str, Any], *, shares_pids: bool, may_run_unseen: bool) -> None:
    """Pids mean the same in one boot and pid namespace; after a reboot of the same host nothing runs."""
    origin = Origin.here()._replace(**fields)
    assert (origin.shares_pids, origin.may_run_unseen) == (shares_pids, may_run_unseen)


@pytest.mark.parametrize(("call", "error"), [("open", errno.EMFILE), ("pwrite", errno.ENOSPC)])
def test_unusable_lock_file_is_reported_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    """A full disk or too many open files raise BadEnvironment with the file name."""

    def fail(*_: object, **__: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(BadEnvironment, match=rf"(?i)w\.lock: {os.strerror(error)}"):
        heartbeat.take_lock(tmp_path, "w")
    if call == "open":
        with pytest.raises(BadEnvironment, match=rf"(?i)w\.lock: {os.strerror(error)}"):
            heartbeat.is_dead(tmp_path, WorkerRow("w", None, "here", 0, (), 0.0, 0, None))
    monkeypatch.undo()
    handle = heartbeat.take_lock(tmp_path, "w")
    assert handle is not None, "a failure keeps no lock"
    os.close(handle)


def test_poller_receives_signals_sent_before_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal sent before the wait ends it at once."""
    old = {number: signal.getsignal(number) for number in (signal.SIGUSR1,)}
    old_fd = signal.set_wakeup_fd(-1)
    try:
        poller = Poller([signal.SIGUSR1])
        os.kill(os.getpid(), signal.SIGUSR1)
        assert poller.wait(60) == {"signal"}
        assert poller.signals.keys() == {signal.SIGUSR1}
    finally:
        signal.set_wakeup_fd(old_fd)
        for number, handler in old.items():
            signal.signal(number, handler)


def test_a_wait_that_ends_in_a_suspension_reports_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's ``sigtimedwait`` may return a structure without a signal after SIGSTOP and SIGCONT; it is ignored."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        poller = Poller([signal.SIGUSR1])
        nothing = SimpleNamespace(si_signo=0, si_pid=0)
        monkeypatch.setattr(signal, "sigtimedwait", lambda *_: nothing)
        poller.wait_for_child(0.0)
        assert poller.signals == {}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


SENDERS = """
import signal, subprocess
from queuectl_nb.engine.poller import Poller, block_signals

block_signals(signal.SIGUSR1, signal.SIGUSR2)
poller = Poller([signal.SIGUSR1, signal.SIGUSR2])
for number, wait in [(signal.SIGUSR1, poller.wait), (signal.SIGUSR2, poller.wait_for_child)]:
    sender = subprocess.Popen(["sh", "-c", f"kill -{number.value} $PPID"])
    wait(60)
    assert poller.signals == {number: sender.pid}, poller.signals
    poller.signals.clear()
    sender.wait()
    wait(-1)
"""


def test_poller_identifies_senders() -> None:
    """A signal that all threads block ends both kinds of waits, with the pid of its sender."""
    subprocess.run([sys.executable, "-c", SENDERS], check=True, timeout=60)


def test_poller_without_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without epoll and signalfd (macOS), waiting for a child loses no other input; exclusive ones wait until idle."""
    monkeypatch.setattr("queuectl_nb.engine.poller._LINUX", False)
    read, write = os.pipe()
    exclusive_read, exclusive_write = os.pipe()
    poller = Poller()
    poller.add("word", read)
    poller.add_exclusive("work", exclusive_read)
    os.write(exclusive_write, b"x")
    assert poller.wait(0) == set()
    os.write(write, b"x")
    poller.wait_for_child(60)
    assert poller.wait(60) == {"word"}
    assert poller.wait(60, idle=True) == {"word", "work"}
    poller.remove(read)
    assert poller.wait(0) == set()
