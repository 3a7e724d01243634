"""One place to wait: children, signals, words from above, bells, the parent's death, a timeout. No polling."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Poller"]

HAS_SIGTIMEDWAIT = hasattr(signal, "sigtimedwait")
"""Whether a short wait can do without the handlers (not on macOS)."""


class Poller:
    """Waits for named descriptors; signals arrive through a pipe, so that none is lost between look and wait.

    ``exclusive`` descriptors (the common doorbell) are only waited for when the caller says that it is idle. Then
    one ring wakes one of all the idle processes (EPOLLEXCLUSIVE); a busy one never swallows a ring.
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

    def wait_for_child(self, timeout: float) -> None:
        """Wait for a child's end, for ``timeout`` seconds at most; whatever else happens is heard by the next wait.

        One system call where :meth:`wait` needs a handler, a pipe and five. SIGCHLD must be blocked, in all threads.
        """
        if HAS_SIGTIMEDWAIT:
            signal.sigtimedwait((signal.SIGCHLD,), timeout)
        else:
            self.wait(timeout)

    def catch(self, numbers: Iterable[int]) -> None:
        """Let these signals wake the waiter and land in ``signals``."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, _note)

    def add(self, name: str, handle: int) -> None:
        """Wait for ``handle`` under ``name``."""
        self._names[handle] = name
        self._base.register(handle)

    def add_exclusive(self, name: str, handle: int) -> None:
        """Wait for ``handle``, but only while idle, and share it fairly with other processes."""
        self._names[handle] = name
        self._idle.register(handle, exclusive=True)

    def drop(self, handle: int) -> None:
        """Wait for ``handle`` no more."""
        self._names.pop(handle, None)
        self._base.unregister(handle)

    def wait(self, timeout: float | None, *, idle: bool = False) -> set[str]:
        """Return the names of what is ready, after ``timeout`` seconds at the latest (None: for ever)."""
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
        return names


def _note(_number: int, _frame: object) -> None:
    """Do nothing: the pipe carries the number."""


class _Epoll:
    """epoll, as far as it is needed here."""

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
    """The same on systems without epoll; every idle process is woken there, the first one wins."""

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
