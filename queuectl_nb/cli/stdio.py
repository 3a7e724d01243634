"""Makes the standard streams safe to use: closed ones, encodings, broken pipes; and signals during a command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

__all__ = [
    "EXIT_SIGNAL",
    "handled_signals",
    "interrupts",
    "lost_interrupts_repeated",
    "redirect_stdout_to_null",
    "repair_streams",
    "signals_as_interrupts",
]

EXIT_SIGNAL = 128
"""What a shell adds to the number of a signal that has ended a process."""
REPEAT_S = 0.02
"""Time until a lost interrupt is repeated."""
interrupts: list[int] = []
"""The signals of this command that were turned into interrupts."""


def repair_streams() -> None:
    """Reopen closed standard streams on /dev/null, and escape characters that the encoding lacks.

    Otherwise a file opened later could get the descriptor of a closed stream, and output would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def redirect_stdout_to_null() -> None:
    """Discard buffered output: the interpreter would flush it into a broken pipe at exit."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


@contextmanager
def handled_signals(handlers: Mapping[signal.Signals, Callable[[int, FrameType | None], object]]) -> Iterator[None]:
    """Handle signals in the block."""
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def signals_as_interrupts(received: list[int]) -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an interrupt, and append them to ``received``; an ignored one stays ignored.

    An interrupt is delayed while the database is written; other exceptions in a signal handler are not.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        interrupts.append(number)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a script
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    with handled_signals(dict.fromkeys(numbers, interrupt)):
        yield


@contextmanager
def lost_interrupts_repeated() -> Iterator[None]:
    """Repeat a signal whose exception was lost, because a destructor or the callback of a weak reference was running.

    Every import calls such functions. C code can ignore exceptions, too; :data:`interrupts` tells who waits for long.
    """
    interrupts.clear()
    previous = sys.unraisablehook

    def on_lost(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, REPEAT_S)  # not in here, where it would be lost again
        else:
            previous(lost)

    def repeat(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(interrupts[-1] if interrupts else signal.SIGINT)

    sys.unraisablehook = on_lost
    try:
        with handled_signals({signal.SIGALRM: repeat}):
            try:
                yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        sys.unraisablehook = previous
