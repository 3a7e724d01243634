"""The SQLite connections of this process: one per thread, closed before a fork and opened again after it.

SQLite keeps the locks that it believes to hold in the memory of the process. A child inherits that memory, but not
the locks: whatever it wrote would be lost when the last other connection closes and deletes the write-ahead log.
"""

from __future__ import annotations

import _thread
import atexit
import itertools
import os
import threading
import weakref
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.interrupts import DelayedInterrupts, uninterrupted
from queuectl_nb.store.shared_locks import SharedLocks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection

    from queuectl_nb.store.shared_locks import FileId
    from queuectl_nb.store.transaction import Transaction

__all__ = ["ConnectionPool", "ThreadState", "close_outdated", "in_use"]

FORK_TIMEOUT_S = 30.0
"""How long a fork waits for the transactions of other threads."""

INTERRUPT_DELAY_S = 0.05
"""Time after which an interrupt of a fork is raised: enough for the hooks of other modules."""


class _InUse:
    """Counts the threads that use a connection. A fork waits for them; others wait until it is over."""

    def __init__(self) -> None:
        self.threads: dict[int, int] = {}
        self.changed = threading.Condition()
        self._waiting_forks = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self.changed:
            if self._waiting_forks and me not in self.threads:  # otherwise busy threads would keep a fork waiting
                self.changed.wait_for(lambda: not self._waiting_forks, FORK_TIMEOUT_S)
            self.threads[me] = self.threads.get(me, 0) + 1

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        with self.changed:
            count = self.threads.get(me, 1) - 1
            if count:
                self.threads[me] = count
            else:
                self.threads.pop(me, None)
                self.changed.notify_all()

    def reset(self) -> None:
        """Forget the other threads, which a fork has not copied."""
        me = threading.get_ident()
        self.threads = {thread: count for thread, count in self.threads.items() if thread == me}
        self.changed = threading.Condition()
        self._waiting_forks = 0

    def others(self) -> set[int]:
        """Return the other threads that use a connection."""
        return {*self.threads} - {threading.get_ident()}

    def wait_for_others(self) -> None:
        """Acquire the condition, once no other thread uses a connection or :data:`FORK_TIMEOUT_S` is over."""
        self.changed.acquire()
        self._waiting_forks += 1
        try:
            self.changed.wait_for(lambda: not self.others(), FORK_TIMEOUT_S)
        finally:
            self._waiting_forks -= 1
            self.changed.notify_all()


class ThreadState(threading.local):
    """The connection and the transaction of a thread."""

    connection: sqlite3.Connection | None = None
    number = 0
    """Number of the connection, unique in this process."""
    transaction: weakref.ref[Transaction] | None = None
    """A strong reference would keep alive what an exception has left open."""


class ConnectionPool:
    """The connections of one database object. :meth:`get` must be called within :data:`in_use`."""

    def __init__(self, path: str, file_id: FileId, connect: Callable[[], sqlite3.Connection]) -> None:
        """Open connections to ``path`` with ``connect``; they must allow use by several threads."""
        self._path = path
        self.file_id = file_id
        self._connect = connect
        self.thread_state = ThreadState()
        self.is_protected = False
        self._open: dict[sqlite3.Connection, int] = {}
        """The thread of each open connection."""
        _pools.add(self)
        weakref.finalize(self, _close_all, self._open).atexit = False

    def get(self) -> sqlite3.Connection:
        """Return this thread's connection, opened on first use in this process.

        Raises
        ------
        BadEnvironment
            The process was forked during a transaction, or by C code.
        """
        if os.getpid() != _process[0]:
            _detect_fork()
        found = self.thread_state.connection
        return found if found in self._open else self._add()  # a fork has closed it

    def _add(self) -> sqlite3.Connection:
        if self.file_id in _unusable:
            raise BadEnvironment(f"this process was forked {_unusable[self.file_id].format(self._path)}")
        threads = {thread.ident for thread in threading.enumerate()}  # is_alive() is False after an interrupted join()
        for connection, thread in list(self._open.items()):
            if thread not in threads:
                self._close(connection)
        found = self.thread_state.connection = self._connect()
        self._open[found] = threading.current_thread().ident or 0  # also registers a thread that C code has started
        self.thread_state.number = next(_numbers)
        if self.is_protected:
            SharedLocks.acquire(found, self._path, self.file_id)
        return found

    def protect(self) -> None:
        """Hold the locks on the files of a write-ahead log for all connections, from now on."""
        self.is_protected = True
        for connection in self._open:
            SharedLocks.acquire(connection, self._path, self.file_id)

    def close(self) -> None:
        """Close this thread's connection."""
        found = self.thread_state.connection
        if found is not None:
            self._close(found)
            self.thread_state.connection = None

    def _close(self, connection: sqlite3.Connection) -> None:
        if self._open.pop(connection, None) is not None:
            SharedLocks.close(connection)

    @property
    def is_open(self) -> bool:
        """Whether any thread has a connection."""
        return bool(self._open)

    def close_idle(self, busy: Collection[int]) -> None:
        """Close the connections of all threads but those that are ``busy`` or in a transaction."""
        for connection, thread in list(self._open.items()):
            if thread not in busy and not connection.in_transaction:
                self._close(connection)

    def abandon(self, why: str) -> None:
        """Forget the connections that a fork has copied into this process, without closing them."""
        _inherited.append((self.thread_state, dict(self._open)))
        self._open.clear()
        self.thread_state = ThreadState()
        _unusable[self.file_id] = why


def _close_all(connections: dict[sqlite3.Connection, int]) -> None:
    _detect_fork()
    while connections:
        SharedLocks.close(connections.popitem()[0])


@atexit.register
def _close_at_exit() -> None:
    """Close the connections that daemon threads do not use: closing one in use crashes the process."""
    _detect_fork()
    with in_use.changed:
        for pool in list(_pools):
            pool.close_idle(in_use.others())


in_use = _InUse()
_numbers = itertools.count(1)
_pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
_inherited: list[object] = []
"""What a fork has copied: closing it would delete the write-ahead log under the parent."""
_unusable: dict[FileId, str] = {}
"""The files of inherited connections, and how the process was forked."""
_IN_TRANSACTION = "during a transaction on {}; fork after the transaction has ended"
_BY_C_CODE = "by C code while it used {}; use os.fork or multiprocessing"
_process = [os.getpid()]
"""The process that the hooks below have seen last."""


def close_outdated(file_id: FileId) -> None:
    """Close this process's connections to a file if they use a log that was deleted; the next use opens it again.

    Nothing is closed while another thread uses a connection.
    """
    try:
        SharedLocks.check(file_id)
    except BadEnvironment:
        with in_use.changed, SharedLocks.mutex:
            if not in_use.others():
                for pool in list(_pools):
                    if pool.file_id == file_id:
                        pool.close_idle(())


class _Fork(threading.local):
    """What a thread that forks holds. An exception in one of the hooks does not prevent the fork."""

    def __init__(self) -> None:
        self.releases: list[Callable[[], None]] = []
        self.interrupts = DelayedInterrupts()

    def release(self) -> None:
        """Release the locks."""
        while self.releases:
            self.releases.pop()()


_fork = _Fork()


@uninterrupted
def _before_fork() -> None:
    _fork.interrupts.install()
    in_use.wait_for_others()
    _fork.releases.append(in_use.changed.release)
    SharedLocks.mutex.acquire()
    _fork.releases.append(SharedLocks.mutex.release)
    for pool in list(_pools):
        pool.close_idle(in_use.threads)


@uninterrupted
def _after_fork_in_parent() -> None:
    _fork.release()
    if _fork.interrupts.restore():  # raise it after the hooks: Python ignores what they raise
        threading.Timer(INTERRUPT_DELAY_S, _thread.interrupt_main).start()


@uninterrupted
def _after_fork_in_child() -> None:
    _process[0] = os.getpid()
    _fork.release()
    in_use.reset()
    for pool in list(_pools):
        if pool.is_open:
            pool.abandon(_IN_TRANSACTION)
    _fork.interrupts.restore()


def _detect_fork() -> None:
    """Abandon what a fork by C code, such as daemon(3), has copied: it does not call the hooks."""
    if os.getpid() != _process[0]:
        _process[0] = os.getpid()
        for pool in list(_pools):
            if pool.is_open:
                pool.abandon(_BY_C_CODE)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
