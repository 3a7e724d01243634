"""Transactions of a thread: under the write lock if they write, and always ended.

An interrupt at any point leaves neither a transaction nor the write lock open, and is never swallowed: no Python code
runs when a transaction that has ended is deallocated.
"""

from __future__ import annotations

import sqlite3
import sys
import time
import weakref
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import Busy
from queuectl_nb.store.connection_use import InUse
from queuectl_nb.store.interrupts import DelayedInterrupts, uninterrupted
from queuectl_nb.store.write_lock import BUSY_HERE

if TYPE_CHECKING:
    from types import FrameType

    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.connection_pool import ThreadState
    from queuectl_nb.store.write_lock import LockRequest

__all__ = ["Transaction", "end_left_open"]

NEGLIGIBLE_WAIT_S = 0.1
"""A shorter wait for the write lock is not subtracted from the time to wait for SQLite's own lock."""


class Transaction:
    """A context manager: commits at the end, rolls back on any error. The value is the thread's connection."""

    def __init__(self, db: Database, lock: LockRequest | None, *, begin: bool = True) -> None:
        """Prepare a transaction; ``lock`` is the write lock if it writes.

        Without ``begin`` each statement is a transaction of its own, under the lock.
        """
        self._db = db
        self.lock = lock
        self._begin = begin
        self.opened: _Opened | None = None
        """None if it has not begun, has ended, or is part of an outer transaction."""
        self._frame: FrameType | None = None
        """The code within which it is open."""

    @uninterrupted
    def __enter__(self) -> sqlite3.Connection:
        """Begin; a read within a transaction of this thread becomes part of that.

        Raises
        ------
        Busy
            This thread is in another transaction, which this one cannot be part of.
        """
        local = self._db.connections.thread_state
        if outer := end_left_open(local):
            opened = outer.opened
            if self.lock is None and opened is not None and opened.has_begun and opened.connection is not None:
                return opened.connection
            raise Busy(BUSY_HERE.format(f"queue {self._db.path}"))
        self._frame = sys._getframe(1)  # noqa: SLF001 - documented, and inspect is slow to import
        self.opened = opened = _Opened(self._db, local, self.lock, begin=self._begin)
        # the callback ends a transaction whose exit an exception between two instructions has skipped
        local.transaction[:] = [weakref.ref(self, opened.abandon)]
        try:
            return opened.begin()
        except BaseException as error:
            self.end(commit=False)
            if isinstance(error, sqlite3.Error):
                self._db.raise_translated(error)
            raise

    @uninterrupted
    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Commit, or roll back if there was an error."""
        if self.opened is None:
            return
        try:
            self.end(commit=error is None)
        except sqlite3.Error as failure:
            self._db.raise_translated(failure)
        if isinstance(error, sqlite3.Error):
            self._db.raise_translated(error)

    def end(self, *, commit: bool) -> None:
        """Commit or roll back, and release everything; do nothing if that was done."""
        try:
            if self.opened is not None:
                self.opened.end(commit=commit)
        finally:
            self.opened = self._frame = None

    def is_running(self) -> bool:
        """Return True if the code within which it is open has called this."""
        caller: FrameType | None = sys._getframe(1)  # noqa: SLF001
        while caller is not None and caller is not self._frame:
            caller = caller.f_back
        return caller is not None


def end_left_open(local: ThreadState) -> Transaction | None:
    """Return the open transaction of this thread; end one that nobody continues, and return None.

    A generator may have left it, or code that an exception has ended, if somebody keeps the traceback.
    """
    outer = next((found for found in [reference() for reference in local.transaction] if found is not None), None)
    if outer is None or outer.opened is None:
        return None
    if outer.is_running():
        return outer
    outer.end(commit=False)
    return None


class _Opened:
    """What a transaction holds: the write lock, a use of the thread's connection, and the handler of interrupts."""

    def __init__(self, db: Database, local: ThreadState, lock: LockRequest | None, *, begin: bool) -> None:
        self._db = db
        self._lock = lock
        self._begin = begin
        self._of_thread = local.transaction
        self._interrupts = DelayedInterrupts()
        self._in_use = InUse()
        self.connection: sqlite3.Connection | None = None
        self.has_begun = False
        """Whether it has begun and does not end yet: a signal handler may be called meanwhile."""

    def begin(self) -> sqlite3.Connection:
        """Acquire everything and begin; call :meth:`end` in any case."""
        self._interrupts.install()
        self._in_use.__enter__()
        connection = self._db.connection()
        if self._lock is None:
            self._db.check_identity()
            self.connection = connection
            connection.execute("BEGIN")
        else:
            self._begin_write(connection, self._lock)
        self.has_begun = True
        return connection

    def _begin_write(self, connection: sqlite3.Connection, lock: LockRequest) -> None:
        timeout_s = self._db.lock_timeout_s
        began = time.monotonic()
        lock.acquire(timeout_s)
        self._db.check_identity()
        self.connection = connection
        if not self._begin:
            return
        waited = self._db.lock_waited_s = time.monotonic() - began
        if waited > NEGLIGIBLE_WAIT_S:  # the timeout covers both locks
            connection.execute(f"PRAGMA busy_timeout = {max(0, round((timeout_s - waited) * 1000))}")
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            if waited > NEGLIGIBLE_WAIT_S:
                connection.execute(f"PRAGMA busy_timeout = {round(timeout_s * 1000)}")
        connection.execute("UPDATE clock SET rev = rev + 1")

    def end(self, *, commit: bool) -> None:
        """Commit or roll back, and release everything."""
        self.has_begun = False
        try:
            if commit and self._begin and self.connection is not None:
                self.connection.execute("COMMIT")
        finally:
            try:
                if self.connection is not None and self.connection.in_transaction:
                    self._roll_back(self.connection)
            finally:
                if self._lock is not None:
                    self._lock.release()
                self._in_use.__exit__()
                self._of_thread.clear()
                self._interrupts.remove()

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._db.connections.close_one(connection)  # the next use opens another

    @uninterrupted
    def abandon(self, _: object) -> None:
        """Roll back the transaction after its object was deallocated."""
        self.end(commit=False)
