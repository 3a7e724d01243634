"""The threads of this process that use a connection to a queue: a fork waits for them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from queuectl_nb.store.shared_locks import SharedLocks

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InUse", "users"]

FORK_TIMEOUT_S = 30.0
"""How long a fork waits for the transactions of other threads."""
MAX_DELAY_S = 1.0
"""How long a use waits for a thread that waits to fork.

That one may wait, over a third thread, for this one: a finalizer can be called in any thread at any point.
"""
POLL_S = 0.001
"""How often a fork looks whether the others are done: that they are is not announced."""


class _Users:
    """The threads that use a connection. A fork waits for them; others wait until it is over."""

    def __init__(self) -> None:
        self.threads: dict[InUse, int] = {}
        """The thread of each use. Ending one takes no lock: a garbage collection may do that at any point."""
        self.changed = threading.Condition()
        self._forking: list[int] = []

    def add(self, use: InUse) -> None:
        """Count a use by this thread; wait while another thread waits to fork."""
        me = threading.get_ident()
        with self.changed:
            if self.waiting_forks() and me not in self.threads.values():  # busy threads would keep a fork waiting
                self.changed.wait_for(lambda: not self.waiting_forks(), MAX_DELAY_S)
            self.threads[use] = me

    def reset(self) -> None:
        """Forget the other threads, which a fork has not copied."""
        me = threading.get_ident()
        self.threads = {use: thread for use, thread in self.threads.copy().items() if thread == me}
        self.changed = threading.Condition()
        self._forking = []

    def others(self) -> set[int]:
        """Return the other threads that use a connection."""
        return {*self.threads.values()} - {threading.get_ident()}

    def waiting_forks(self) -> set[int]:
        """Return the other threads that wait to fork."""
        return {*self._forking} - {threading.get_ident()}

    def acquire_to_fork(self) -> bool:
        """Acquire the condition, and ``SharedLocks.mutex`` once no other thread uses a connection.

        Return False if that could not be acquired in :data:`FORK_TIMEOUT_S`, for which it waits for the others.
        """
        self.changed.acquire()
        self._forking.append(threading.get_ident())
        try:
            return self.acquire_mutex(FORK_TIMEOUT_S, lambda: not self.others())
        finally:
            self._forking.remove(threading.get_ident())
            self.changed.notify_all()

    def acquire_mutex(self, timeout_s: float, ready: Callable[[], bool] = lambda: True) -> bool:
        """Acquire ``SharedLocks.mutex`` while this thread holds the condition, once it is ``ready``, or not in time.

        The condition is released while it waits: who holds the mutex may need it, because a garbage collection may run
        any code at any point.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            is_late = time.monotonic() >= deadline
            if (is_late or ready()) and SharedLocks.mutex.acquire(blocking=False):
                return True
            if is_late:
                return False
            self.changed.wait(POLL_S)


class InUse:
    """One use of a connection by this thread, as a context manager. It can be ended repeatedly, by any thread."""

    def __enter__(self) -> None:
        """Begin it."""
        users.add(self)

    def __exit__(self, *_: object) -> None:
        """End it."""
        users.threads.pop(self, None)


users = _Users()
