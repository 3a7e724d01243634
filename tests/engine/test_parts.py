"""The engine's small parts, each on its own: bells, events, journal, locks."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.engine import heartbeat, notifier
from queuectl_nb.engine.events import Events
from queuectl_nb.engine.outcome_journal import OutcomeJournal, journal_path, read_journal
from queuectl_nb.engine.poller import Poller
from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.outcome import Cancelled, Exited, Lost, NotStarted, Returned, Signalled, TimedOut
from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path


def test_ring_without_listener_or_bell_does_nothing(tmp_path: Path) -> None:
    """Ringing where nobody listens neither waits nor fails nor leaves a file."""
    bell = tmp_path / "bell"
    notifier.notify(bell)
    assert not bell.exists()
    os.close(notifier.open_fifo(bell))
    notifier.notify(bell)


def test_ring_of_a_planted_file_writes_nothing(tmp_path: Path) -> None:
    """Where the bell is no FIFO, or a link, nothing is written."""
    plain, link = tmp_path / "plain", tmp_path / "link"
    plain.touch()
    link.symlink_to(plain)
    notifier.notify(plain)
    notifier.notify(link)
    assert plain.read_bytes() == b""


def test_one_ring_wakes_one_idle_waiter(tmp_path: Path) -> None:
    """Of many idle waiters a ring wakes one, and what was rung before is heard by who waits later."""
    bell = tmp_path / "bell"
    woken: list[int] = []
    ready = threading.Semaphore(0)
    stop_read, stop_write = os.pipe()

    def wait(number: int) -> None:
        handle = notifier.open_fifo(bell)
        waiter = Poller()
        waiter.add("stop", stop_read)
        waiter.add_exclusive("bell", handle)
        ready.release()
        while "stop" not in (names := waiter.wait(10, idle=True)):
            if "bell" in names:
                notifier.drain(handle)
                woken.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    for rings in range(1, 4):
        notifier.notify(bell)
        until(lambda rings=rings: len(woken) >= rings)
    os.write(stop_write, b"x")
    for thread in threads:
        thread.join(10)
    assert len(woken) < 3 * 8


def test_events_come_whole_and_a_slow_reader_costs_no_time() -> None:
    """Lines arrive whole; a full pipe drops events, tells how many, and never blocks."""
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


def test_events_without_a_reader_are_nobodys_trouble() -> None:
    """When whoever listened is gone, telling goes on without an error."""
    read, write = os.pipe()
    events = Events(write)
    os.close(read)
    events.emit("tick")
    events.flush()
    assert not events.enabled


def test_journal_gives_back_what_was_noted(tmp_path: Path) -> None:
    """Every kind of outcome comes back with its ending; a line that a crash cut off is left out."""
    endings = {
        "a": (Exited(3), Ending(2.0, 1.0, 77, usage=Usage(0.1, 0.2, 3), stdout="ü", stdout_size=2, stderr=b"\xff\0")),
        "b": (Signalled(11), Ending(2.0)),
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
    with journal_path(tmp_path, "w").open("ab") as file:
        file.write((100).to_bytes(4, "little") + b"cut off")
    assert read_journal(tmp_path, "w") == endings
    journal.clear()
    assert read_journal(tmp_path, "w") == {}
    assert read_journal(tmp_path, "nobody") == {}


def test_lock_tells_life_and_keeps_the_last_token(tmp_path: Path) -> None:
    """A held lock is life; released it is death; the token of the last start outlives its writer."""
    handle = heartbeat.take_lock(tmp_path, "w")
    assert handle is not None
    assert heartbeat.take_lock(tmp_path, "w") is None
    assert not heartbeat.is_dead(tmp_path, "w")
    heartbeat.record_current_attempt(handle, "0123456789abcdef" * 2)
    os.close(handle)
    assert heartbeat.is_dead(tmp_path, "w")
    again = heartbeat.take_lock(tmp_path, "w")
    assert again is not None
    assert heartbeat.read_current_attempt(tmp_path, "w") == "0123456789abcdef" * 2
    os.close(again)
    assert heartbeat.is_dead(tmp_path, "unknown")


@pytest.mark.parametrize(("call", "error"), [("open", errno.EMFILE), ("pwrite", errno.ENOSPC)])
def test_a_lock_that_cannot_be_made_or_looked_at_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    """A full disk, or too many open files, is an error of ours that names the file: it ends no pool."""

    def fail(*_: object, **__: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(BadEnvironment, match=rf"w\.lock: {os.strerror(error)}"):
        heartbeat.take_lock(tmp_path, "w")
    if call == "open":
        with pytest.raises(BadEnvironment, match=rf"w\.lock: {os.strerror(error)}"):
            heartbeat.is_dead(tmp_path, "w")
    monkeypatch.undo()
    handle = heartbeat.take_lock(tmp_path, "w")
    assert handle is not None, "a failure keeps no lock"
    os.close(handle)


def test_waiter_hears_signals_between_look_and_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes before the wait ends the wait at once."""
    old = {number: signal.getsignal(number) for number in (signal.SIGUSR1,)}
    old_fd = signal.set_wakeup_fd(-1)
    try:
        waiter = Poller()
        waiter.catch_signals([signal.SIGUSR1])
        os.kill(os.getpid(), signal.SIGUSR1)
        assert waiter.wait(10) == {"signal"}
        assert waiter.signals == {signal.SIGUSR1}
    finally:
        signal.set_wakeup_fd(old_fd)
        for number, handler in old.items():
            signal.signal(number, handler)


def test_waiter_without_sigtimedwait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system lacks the short way (macOS) a short wait is an ordinary one, and what it hears is not lost."""
    monkeypatch.setattr("queuectl_nb.engine.poller.HAS_SIGTIMEDWAIT", False)
    monkeypatch.delattr(signal, "sigtimedwait")
    read, write = os.pipe()
    waiter = Poller()
    waiter.add("word", read)
    os.write(write, b"x")
    waiter.wait_for_child(10)
    assert waiter.wait(10) == {"word"}
