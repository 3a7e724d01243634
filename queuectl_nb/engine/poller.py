"""Waits for child processes, signals, pipes, FIFOs and pidfds at once, without polling."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterable

__all__ = ["Poller", "block_signals"]

_LINUX = sys.platform.startswith("linux")
_SIGSET_BYTES = 128


def block_signals(*numbers: int) -> None:
    """Block these signals, and no others, in this thread and those that it starts (Linux); see :class:`Poller`."""
    if _LINUX:
        signal.pthread_sigmask(signal.SIG_SETMASK, numbers)


class Poller:
    """Waits for named descriptors and signals.

    No signal is lost between two waits. Signals that all threads block (:func:`block_signals`) need no handler, and
    their senders are known; others arrive through a handler and a pipe.

    Exclusive descriptors (the work FIFO) are only waited for while idle. A notification wakes one of all idle
    processes (EPOLLEXCLUSIVE) and is never consumed by a busy one.

    Attributes
    ----------
    signals
        Received signals, with the pid of the sender, or 0 if that is unknown; the owner clears it.
    """

    def __init__(self, signals: Iterable[int] = ()) -> None:
        """Let ``signals`` end a wait; all of them must be blocked, or none."""
        numbers = tuple(signals)
        self.signals: dict[int, int] = {}
        self._names: dict[int, str] = {}
        self._exclusive: set[int] = set()
        self._blocked = numbers if _LINUX and signal.pthread_sigmask(signal.SIG_BLOCK, ()).issuperset(numbers) else ()
        if _LINUX:
            self._base, self._idle = select.epoll(), select.epoll()
            self._idle.register(self._base, select.EPOLLIN)
        if numbers:
            self._signal_fd = _open_signal_fd(numbers) if self._blocked else _catch_signals(numbers)
            self.add("signal", self._signal_fd)

    def add(self, name: str, handle: int) -> None:
        """Wait for ``handle``; :meth:`wait` returns ``name`` for it."""
        self._names[handle] = name
        if _LINUX:
            self._base.register(handle, select.EPOLLIN)

    def add_exclusive(self, name: str, handle: int) -> None:
        """Wait for ``handle`` only while idle; one of all waiting processes is woken."""
        self._names[handle] = name
        self._exclusive.add(handle)
        if _LINUX:
            self._idle.register(handle, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def remove(self, handle: int) -> None:
        """Stop waiting for ``handle``."""
        del self._names[handle]
        if _LINUX:
            self._base.unregister(handle)

    def wait_for_child(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for a child to exit or another signal; no time if it is negative.

        The next :meth:`wait` handles everything else. One system call, where :meth:`wait` needs several.
        """
        if not self._blocked:
            self.wait(timeout)
        else:
            self._receive_signal(max(0, timeout))

    def wait(self, timeout: float | None, *, idle: bool = False) -> set[str]:
        """Wait at most ``timeout`` seconds (None: forever) and return the names of the ready descriptors."""
        timeout = timeout and max(0, timeout)  # epoll would wait forever for a time that is over
        handles = self._poll(timeout, idle=idle) if _LINUX else self._poll_without_epoll(timeout, idle=idle)
        names = {self._names[handle] for handle in handles}
        if "signal" in names:
            self._receive_signals()
        return names

    def _poll(self, timeout: float | None, *, idle: bool) -> list[int]:
        if not idle:
            return [handle for handle, _ in self._base.poll(timeout)]
        handles = [handle for handle, _ in self._idle.poll(timeout)]
        if self._base.fileno() in handles:
            handles.remove(self._base.fileno())
            handles += self._poll(0, idle=False)
        return handles

    def _poll_without_epoll(self, timeout: float | None, *, idle: bool) -> list[int]:
        """Wait without epoll (macOS): all idle processes are woken, and the first one gets the work."""
        poll = select.poll()
        for handle in self._names if idle else self._names.keys() - self._exclusive:
            poll.register(handle, select.POLLIN)
        return [handle for handle, _ in poll.poll(None if timeout is None else timeout * 1000)]

    def _receive_signal(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for a blocked signal; return True if there was one."""
        found = signal.sigtimedwait(self._blocked, timeout)
        # if this process is suspended during the wait, Python may return a structure without a signal
        if found is None or found.si_signo not in self._blocked:
            return False
        self.signals[found.si_signo] = found.si_pid
        return True

    def _receive_signals(self) -> None:
        if self._blocked:
            while self._receive_signal(0):
                pass
        else:
            with contextlib.suppress(BlockingIOError):
                self.signals.update(dict.fromkeys(os.read(self._signal_fd, 4096), 0))


def _open_signal_fd(numbers: Iterable[int]) -> int:
    """Return a descriptor that is readable while one of these blocked signals is pending (signalfd(2))."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    mask = (ctypes.c_ulong * (_SIGSET_BYTES // ctypes.sizeof(ctypes.c_ulong)))()
    libc.sigemptyset(mask)
    for number in numbers:
        libc.sigaddset(mask, number)
    handle: int = libc.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC)
    if handle < 0:
        raise OSError(ctypes.get_errno(), "signalfd")
    return handle


def _catch_signals(numbers: Iterable[int]) -> int:
    """Return a pipe to which the numbers of received signals are written."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda _number, _frame: None)
    return read
