"""Ctrl+C while a function runs that it must not cut short; test_connection.py sends it at random moments."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.store.interrupts import DelayedInterrupts, interruptible, uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def received() -> Iterator[list[int]]:
    """Return the signals that a handler of the user has received."""
    found: list[int] = []

    def handler(signum: int, _frame: object) -> None:
        found.append(signum)

    previous = signal.signal(signal.SIGINT, handler)
    yield found
    assert signal.signal(signal.SIGINT, previous) is handler


@uninterrupted
def _critical(received: list[int]) -> int:
    signal.raise_signal(signal.SIGINT)
    return len(received)


@interruptible
def _wait() -> None:
    signal.raise_signal(signal.SIGINT)


@uninterrupted
def _critical_but_for_a_wait(received: list[int]) -> int:
    _wait()
    return len(received)


def test_a_delayed_interrupt(received: list[int]) -> None:
    """The handler is called once, at the end; without an interrupt it is not called."""
    for pending in (True, False):
        received.clear()
        interrupts = DelayedInterrupts()
        interrupts.install()
        if pending:
            assert [_critical(received), _critical(received)] == [0, 0]
        interrupts.remove()
        interrupts.remove()
        assert received == [signal.SIGINT] * pending


def test_an_interrupt_in_time(received: list[int]) -> None:
    """Outside of such a function, and in one that may be cut short, it is not delayed."""
    interrupts = DelayedInterrupts()
    interrupts.install()
    _wait()
    assert _critical_but_for_a_wait(received) == 2
    interrupts.remove()
    assert received == [signal.SIGINT] * 2


def test_another_thread(received: list[int]) -> None:
    """Only the main thread can have a handler: others leave it alone."""
    interrupts = DelayedInterrupts()
    for action in (interrupts.install, interrupts.remove):
        thread = threading.Thread(target=action)
        thread.start()
        thread.join()
    assert _critical(received) == 1
