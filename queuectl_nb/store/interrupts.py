"""Delays Ctrl+C while a transaction begins or ends, so that it leaves neither a lock nor a snapshot open."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal compares each handler with enums, by its repr
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TypeVar

__all__ = ["DelayedInterrupts", "interruptible", "uninterrupted"]

_F = TypeVar("_F", bound="Callable[..., object]")
_uninterrupted: set[CodeType] = set()
_interruptible: set[CodeType] = set()


def uninterrupted(function: _F) -> _F:
    """Mark a function that an interrupt must not cut short, with all that it calls."""
    _uninterrupted.add(function.__code__)
    return function


def interruptible(function: _F) -> _F:
    """Mark a function that an uninterrupted one calls and that an interrupt may end, such as a long wait."""
    _interruptible.add(function.__code__)
    return function


class DelayedInterrupts:
    """A SIGINT handler that delays the previous one while a function marked as uninterrupted runs."""

    __slots__ = ("_pending", "_previous")

    def __init__(self) -> None:
        """Do nothing yet: :meth:`install` replaces the handler."""
        self._previous: Callable[[int, FrameType | None], object] | None = None
        self._pending = False

    def install(self) -> None:
        """Replace the handler, if this is the main thread and the handler is Python code."""
        if threading.current_thread() is threading.main_thread():
            previous = _signal.getsignal(_signal.SIGINT)
            if callable(previous):
                self._previous = previous
                _signal.signal(_signal.SIGINT, self._handle)

    def remove(self) -> None:
        """Restore the handler; call it if an interrupt was delayed."""
        previous = self._previous
        if self.restore() and previous is not None:
            previous(_signal.SIGINT, None)

    def restore(self) -> bool:
        """Restore the handler; return whether an interrupt was delayed."""
        if self._previous is None or threading.current_thread() is not threading.main_thread():
            return False
        previous, self._previous = self._previous, None
        _signal.signal(_signal.SIGINT, previous)
        pending, self._pending = self._pending, False
        return pending

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        caller = frame
        while caller is not None and caller.f_code not in _interruptible:
            if caller.f_code in _uninterrupted:
                self._pending = True
                return
            caller = caller.f_back
        if self._previous is not None:
            self._previous(signum, frame)
