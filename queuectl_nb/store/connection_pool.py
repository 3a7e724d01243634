"""The SQLite connections of this process: one per thread, closed before a fork and opened again after it.

SQLite keeps the locks that it believes to hold in the memory of the process. A child inherits that memory, but not
the locks: whatever it wrote would be lost when the last other connection closes and deletes the write-ahead log.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in store/interrupts.py
import _thread
import atexit
import contextlib
import itertools
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.connection_use import InUse, users
from queuectl_nb.store.interrupts import DelayedInterrupts, uninterrupted
from queuectl_nb.store.shared_locks import SharedLocks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection

    from queuectl_nb.store.shared_locks import FileId
    from queuectl_nb.store.transaction import Transaction

__all__ = ["ConnectionPool", "ThreadState", "close_outdated"]

EXIT_TIMEOUT_S = 1.0
"""How long the end of the interpreter waits for a thread that closes a connection."""
INTERRUPT_DELAY_S = 0.05
"""Time after which an interrupt of a fork is raised: enough for the hooks of other modules."""


class ThreadState(threading.local):
    """The connection and the transaction of a thread."""

    connection: sqlite3.Connection | None = None
    number = 0
    """Number of the connection, unique in this process."""

    _transaction: list[weakref.ref[Transaction]] | None = None

    @property
    def transaction(self) -> list[weakref.ref[Transaction]]:
        """The one that has begun and not ended. A strong reference would keep alive what an exception has left open.

        It is a list because a garbage collection may end the transaction in another thread, and not made in
        ``__init__``, within which a garbage collection may call a finalizer.
        """
        if self._transaction is None:
            self._transaction = []
        return self._transaction


class ConnectionPool:
    """The connections of one database object. :meth:`get` must be called within :class:`.InUse`."""

    def __init__(self, path: str, file_id: FileId, connect: Callable[[], sqlite3.Connection]) -> None:
        """Open connections to ``path`` with ``connect``; they must allow use by several threads."""
        self._path = path
        self.file_id = file_id
        self._connect = connect
        self.thread_state = ThreadState()
        self.is_protected = False
        self._open: dict[sqlite3.Connection, int] = {}
        """The thread of each open connection."""
        _pools[weakref.ref(self)] = self._open
        weakref.finalize(self, _close_forgotten).atexit = False

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
        _close_forgotten()
        # enumerate() takes a lock within which a garbage collection may run a finalizer that waits for other threads;
        # is_alive() is False after an interrupted join()
        threads = {*threading._active}  # type: ignore[attr-defined]  # noqa: SLF001
        for connection, thread in self._open.copy().items():
            if thread not in threads:
                self.close_one(connection)
        found = self._connect()
        self._open[found] = threading.current_thread().ident or 0  # also registers a thread that C code has started
        if self.is_protected:
            try:
                SharedLocks.acquire(found, self._path, self.file_id)
            except BaseException:
                self.close_one(found)
                raise
        self.thread_state.connection = found
        self.thread_state.number = next(_numbers)
        return found

    def protect(self) -> None:
        """Hold the locks on the files of a write-ahead log for all connections, from now on."""
        self.is_protected = True
        for connection in self._open.copy():
            SharedLocks.acquire(connection, self._path, self.file_id)

    def close(self) -> None:
        """Close this thread's connection."""
        found = self.thread_state.connection
        if found is not None:
            with InUse():  # a finalizer may use a queue meanwhile, and must not wait for a fork that waits for this
                self.close_one(found)
            self.thread_state.connection = None

    def close_one(self, connection: sqlite3.Connection) -> None:
        """Close a connection of any thread, unless that was done."""
        if self._open.pop(connection, None) is not None:
            SharedLocks.close(connection)

    @property
    def is_open(self) -> bool:
        """Whether any thread has a connection."""
        return bool(self._open)

    def close_idle(self, busy: Collection[int]) -> None:
        """Close the connections of all threads but those that are ``busy`` or in a transaction."""
        for connection, thread in self._open.copy().items():
            if thread not in busy and not connection.in_transaction:
                self.close_one(connection)

    def abandon(self, why: str) -> None:
        """Forget the connections that a fork has copied into this process, without closing them."""
        _inherited.append((self.thread_state, dict(self._open)))
        self._open.clear()
        self.thread_state = ThreadState()
        _unusable[self.file_id] = why


@uninterrupted
def _close_forgotten() -> None:
    """Close the connections of pools that were deallocated, which is called by any thread at any point.

    So it waits for nothing: what is left is closed after a fork, or when a connection is opened.
    """
    _detect_fork()
    if not SharedLocks.mutex.acquire(blocking=False):
        return
    interrupts = DelayedInterrupts()
    try:
        interrupts.install()
        for pool, connections in _pools.copy().items():
            if pool() is None:
                while connections:
                    SharedLocks.close(connections.popitem()[0])
                _pools.pop(pool, None)
    finally:
        SharedLocks.mutex.release()
        if interrupts.restore():
            _interrupt_later()


def _interrupt_later() -> None:
    """Raise a delayed interrupt soon: Python ignores what finalizers and the hooks of a fork raise."""
    with contextlib.suppress(RuntimeError):  # no thread can be started
        _thread.start_new_thread(_interrupt, ())


def _interrupt() -> None:
    time.sleep(INTERRUPT_DELAY_S)
    if main := threading.main_thread().ident:
        _signal.pthread_kill(main, _signal.SIGINT)  # a real signal also ends what it waits for


@atexit.register
def _close_at_exit() -> None:
    """Close the connections that daemon threads do not use: closing one in use crashes the process."""
    _detect_fork()
    with users.changed:
        if users.acquire_mutex(EXIT_TIMEOUT_S):
            for pool in _living_pools():
                pool.close_idle(users.others())
            SharedLocks.mutex.release()


_numbers = itertools.count(1)
_pools: dict[weakref.ref[ConnectionPool], dict[sqlite3.Connection, int]] = {}
"""The open connections of each pool, also of those that were deallocated until their connections are closed."""
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
        with users.changed:
            if users.others() or not users.acquire_mutex(0):
                return
            try:
                for pool in _living_pools():
                    if pool.file_id == file_id:
                        pool.close_idle(())
            finally:
                SharedLocks.mutex.release()


def _living_pools() -> list[ConnectionPool]:
    return [pool for pool in [reference() for reference in list(_pools)] if pool is not None]


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
    has_mutex = users.acquire_to_fork()
    _fork.releases.append(users.changed.release)
    if has_mutex:
        _fork.releases.append(SharedLocks.mutex.release)
        for pool in _living_pools():
            pool.close_idle(users.threads.values())


@uninterrupted
def _after_fork_in_parent() -> None:
    _fork.release()
    _close_forgotten()
    if _fork.interrupts.restore():
        _interrupt_later()


@uninterrupted
def _after_fork_in_child() -> None:
    _process[0] = os.getpid()
    _fork.release()
    SharedLocks.mutex = threading.RLock()
    users.reset()
    _abandon_all(_IN_TRANSACTION)
    _fork.interrupts.restore()


def _abandon_all(why: str) -> None:
    _process[0] = os.getpid()
    for reference, connections in _pools.copy().items():
        pool = reference()
        if pool is None:
            _inherited.append(_pools.pop(reference, connections))
        elif pool.is_open:
            pool.abandon(why)


def _detect_fork() -> None:
    """Abandon what a fork by C code, such as daemon(3), has copied: it does not call the hooks."""
    if os.getpid() != _process[0]:
        _abandon_all(_BY_C_CODE)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
