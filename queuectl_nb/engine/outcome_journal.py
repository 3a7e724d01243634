"""A worker's outcomes that are not in the database yet, kept where kill -9 cannot reach them.

Short jobs are recorded in groups. A job that kills its worker must not take with it what others before it achieved:
each outcome is written to this file (a system call; the kernel keeps it when the process dies) before the next job
starts, and whoever settles in the dead worker's place reads it.
"""

from __future__ import annotations

import fcntl
import marshal
import os
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.outcome import (
    Cancelled,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Returned,
    Signalled,
    TimedOut,
)
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["LARGEST_STREAM", "OutcomeJournal", "lock_journal", "outcome_of", "read_journal"]

LARGEST_STREAM = 16 * 1024
"""Bytes of a stream that an entry holds; a larger one must lie in a file of its own by then."""
_KINDS = {kind.__name__: kind for kind in (Exited, Signalled, TimedOut, NotStarted, Cancelled, Returned, Lost)}
FORMAT = 2
"""Of :mod:`marshal`: the newest that every Python reads alike."""


def outcome_of(kind: str, facts: Sequence[Any]) -> Outcome:
    """Return an outcome from the name of its class and its facts."""
    outcome: Outcome = _KINDS[kind](*facts)
    return outcome


def journal_path(worker_dir: Path, name: str) -> Path:
    """Return a worker's journal."""
    return worker_dir / f"{name}.outcomes"


class OutcomeJournal:
    """The writing side, in the worker."""

    def __init__(self, worker_dir: Path, name: str) -> None:
        """Open the worker's journal, empty."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        self._handle = open_regular(journal_path(worker_dir, name), flags)

    def record(self, token: str, outcome: Outcome, ending: Ending) -> None:
        """Write one outcome; a full disk leaves it to the database alone."""
        if max(ending.stdout_size, ending.stderr_size) > LARGEST_STREAM:
            ending = ending._replace(stdout="", stdout_tail=None, stderr="", stderr_tail=None)
        line = marshal.dumps(
            (
                token,
                type(outcome).__name__,
                [getattr(outcome, slot) for slot in type(outcome).__slots__],
                ending[:-1],
                tuple(ending.usage),
            ),
            FORMAT,
        )
        entry = len(line).to_bytes(4, "little") + line
        try:
            done = os.write(self._handle, entry)
            if done < len(entry):  # the disk is full: a part would make what follows unreadable
                os.ftruncate(self._handle, os.fstat(self._handle).st_size - done)
        except OSError:
            return

    def clear(self) -> None:
        """Forget everything: it is in the database."""
        os.ftruncate(self._handle, 0)


def read_journal(worker_dir: Path, name: str) -> dict[str, tuple[Outcome, Ending]]:
    """Return a lost worker's outcomes by token, up to an entry that makes no sense.

    A crash of the machine may have left such a one, or another version of this program. A stream larger than
    :data:`LARGEST_STREAM` is not in its ending: it lies in the spool. Raises OSError where the file is there and
    cannot be read.
    """
    try:
        raw = journal_path(worker_dir, name).read_bytes()
    except FileNotFoundError:
        return {}
    found: dict[str, tuple[Outcome, Ending]] = {}
    while raw:
        size = int.from_bytes(raw[:4], "little")
        line, raw = raw[4 : 4 + size], raw[4 + size :]
        if len(line) < size:
            break
        try:
            token, kind, facts, ending, usage = marshal.loads(line)  # noqa: S302 - our own file, which nobody else can write
            found[token] = (outcome_of(kind, facts), Ending._make((*ending, Usage._make(usage))))
        except (EOFError, ValueError, TypeError, KeyError):
            break
    return found


def lock_journal(worker_dir: Path, name: str) -> int | None:
    """Lock a lost worker's journal and return the descriptor; None while somebody else settles by it.

    Its owner never locks it, so that this is possible while a frozen worker lives.
    """
    handle = open_regular(journal_path(worker_dir, name), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
