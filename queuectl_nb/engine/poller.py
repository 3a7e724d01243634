"""Waits for child processes, signals, pipes, FIFOs and pidfds at once, without polling."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Poller"]

HAS_SIGTIMEDWAIT = hasattr(signal, "sigtimedwait")
"""Whether a child can be waited for without signal handlers (not on macOS)."""

_SIGNAL_INFO = struct.Struct("=IiiI112x")
"""The beginning of ``struct signalfd_siginfo``: number, errno, code, pid of the sender."""
_SIGSET_BYTES = 128


class Poller:
    """Waits for named descriptors. Signals arrive through a pipe, so that none is lost between two waits.

    Exclusive descriptors (the work FIFO) are only waited for while idle. A notification wakes one of all idle
    processes (EPOLLEXCLUSIVE) and is never consumed by a busy one.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._names: dict[int, str] = {self._read: "signal"}
        self._base = _epoll()
        self._idle = _epoll()
        self._base.register(self._read)
        self._idle.nest(self._base)
        self.signals: set[int] = set()
        self.senders: dict[int, int] = {}
        """Pid of the sender of a signal in ``signals``, if :meth:`identify_senders` was called for it."""
        self._child_signals: tuple[int, ...] = (signal.SIGCHLD,)
        self._signal_fd = -1

    def wait_for_child(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for a child to exit or an identified signal.

        The next :meth:`wait` handles everything else. One system call, where :meth:`wait` needs five, a handler and a
        pipe. SIGCHLD must be blocked in all threads.
        """
        if HAS_SIGTIMEDWAIT:
            found = signal.sigtimedwait(self._child_signals, timeout)
            if found is not None and found.si_signo != signal.SIGCHLD:
                self._add_signal(found.si_signo, found.si_pid)
        else:
            self.wait(timeout)

    def identify_senders(self, numbers: Iterable[int]) -> None:
        """Also record who sends these signals (Linux); they must be blocked in all threads."""
        numbers = tuple(numbers)
        if (handle := _open_signal_fd(numbers)) is None:
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        self._child_signals += numbers
        self._signal_fd = handle
        self.add("signal fd", handle)

    def _add_signal(self, number: int, sender: int) -> None:
        self.signals.add(number)
        self.senders[number] = sender

    def catch_signals(self, numbers: Iterable[int]) -> None:
        """Let these signals end a wait and be added to ``signals``; SIGHUP only if nohup does not ignore it."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in numbers:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _ignore)

    def add(self, name: str, handle: int) -> None:
        """Wait for ``handle``; :meth:`wait` returns ``name`` for it."""
        self._names[handle] = name
        self._base.register(handle)

    def add_exclusive(self, name: str, handle: int) -> None:
        """Wait for ``handle`` only while idle; one of all waiting processes is woken."""
        self._names[handle] = name
        self._idle.register(handle, exclusive=True)

    def remove(self, handle: int) -> None:
        """Stop waiting for ``handle``."""
        self._names.pop(handle, None)
        self._base.unregister(handle)

    def wait(self, timeout: float | None, *, idle: bool = False) -> set[str]:
        """Wait at most ``timeout`` seconds (None: forever) and return the names of the ready descriptors."""
        if HAS_SIGTIMEDWAIT:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        handles = self._idle.poll(timeout) if idle else self._base.poll(timeout)
        if HAS_SIGTIMEDWAIT:
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
        if idle and self._base.handle in handles:
            handles += self._base.poll(0)
        names = {self._names[handle] for handle in handles if handle in self._names}
        if "signal" in names:
            with contextlib.suppress(BlockingIOError):
                self.signals.update(os.read(self._read, 4096))
        if "signal fd" in names:
            with contextlib.suppress(BlockingIOError):
                raw = os.read(self._signal_fd, 16 * _SIGNAL_INFO.size)
                for number, _errno, _code, sender in _SIGNAL_INFO.iter_unpack(raw):
                    self._add_signal(number, sender)
        return names


def _open_signal_fd(numbers: Iterable[int]) -> int | None:
    """Return a descriptor that delivers blocked signals with their senders (signalfd(2)), or None."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    mask = (ctypes.c_ulong * (_SIGSET_BYTES // ctypes.sizeof(ctypes.c_ulong)))()
    libc.sigemptyset(mask)
    for number in numbers:
        libc.sigaddset(mask, number)
    handle: int = libc.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC)
    return handle if handle >= 0 else None


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: the wakeup pipe carries the signal number."""


class _Epoll:
    """The part of epoll that is needed here."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self.handle = self._poll.fileno()

    def register(self, handle: int, *, exclusive: bool = False) -> None:
        self._poll.register(handle, select.EPOLLIN | (select.EPOLLEXCLUSIVE if exclusive else 0))

    def unregister(self, handle: int) -> None:
        self._poll.unregister(handle)

    def nest(self, other: _Epoll) -> None:
        self._poll.register(other.handle, select.EPOLLIN)

    def poll(self, timeout: float | None) -> list[int]:
        return [handle for handle, _ in self._poll.poll(timeout)]


class _Selector:
    """Fallback for systems without epoll: all idle processes are woken, the first one gets the work."""

    handle = -1

    def __init__(self) -> None:
        self._select = selectors.DefaultSelector()

    def register(self, handle: int, *, exclusive: bool = False) -> None:
        del exclusive
        self._select.register(handle, selectors.EVENT_READ)

    def unregister(self, handle: int) -> None:
        self._select.unregister(handle)

    def nest(self, other: _Selector) -> None:
        self._inner = other._select

    def poll(self, timeout: float | None) -> list[int]:
        inner = getattr(self, "_inner", None)
        for key in (inner.get_map() or {}).values() if inner else ():
            if key.fd not in self._select.get_map():
                self._select.register(key.fd, selectors.EVENT_READ)
        return [key.fd for key, _ in self._select.select(timeout)]


def _epoll() -> _Epoll:
    return _Epoll() if sys.platform.startswith("linux") else _Selector()  # type: ignore[return-value]
