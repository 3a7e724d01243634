"""Journal of a worker's outcomes that are not in the database yet.

Short jobs are recorded in groups. A job that kills its worker must not lose the results of the jobs before it, so each
outcome is appended to this file before the next job starts (one system call: the kernel keeps the data when the process
dies). The rescuer of a dead worker reads it. SIGKILL can cut a long write at a page boundary, so each entry has a
checksum: otherwise what an earlier entry left in the file could complete it.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import struct
import zlib
from pathlib import Path

from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.call import CallValue
from queuectl_nb.model.outcome import OUTCOME_CLASSES, Outcome
from queuectl_nb.store.regular_file import Descriptor, open_locked, open_regular

__all__ = ["MAX_STREAM_BYTES", "OutcomeJournal", "journal_path", "lock_journal", "read_journal"]

MAX_STREAM_BYTES = 16 * 1024
"""Maximum size of a stream in an entry; a larger one must already have a file of its own."""
MARSHAL_VERSION = 2
"""The newest version that all Python versions read alike."""
RESERVED_BYTES = 64 * 1024
_HEADER = struct.Struct("<II")
"""Size and CRC-32 of an entry."""
_FIELDS = Ending._fields.index("artifacts")
"""Number of fields written as they are; artifacts and metrics stay in files until they are in the database."""
_END = bytes(_HEADER.size)
"""An entry of size 0, which follows the last one."""


def journal_path(worker_dir: Path, name: str) -> Path:
    """Return the path of a worker's journal."""
    return worker_dir / f"{name}.outcomes"


class OutcomeJournal:
    """Writes the journal of one worker, whose disk space is reserved: outcomes can be recorded on a full disk."""

    def __init__(self, worker_dir: Path, name: str) -> None:
        """Create or overwrite the journal."""
        self._handle = open_regular(journal_path(worker_dir, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._end = 0
        with contextlib.suppress(OSError, AttributeError):  # full disk, macOS: entries need space when written
            os.posix_fallocate(self._handle, 0, RESERVED_BYTES)

    def record(self, token: str, outcome: Outcome, ending: Ending) -> None:
        """Append one outcome; if it does not fit on the disk, only the database will have it."""
        if max(ending.stdout_size, ending.stderr_size) > MAX_STREAM_BYTES:
            ending = ending._replace(stdout="", stdout_tail=None, stderr="", stderr_tail=None)
        kind = type(outcome)
        arguments = [getattr(outcome, slot) for slot in kind.__slots__]
        values = [tuple(value) for value in ending.values] if ending.values else ()
        facts = (token, kind.__name__, arguments, ending[:_FIELDS], values, tuple(ending.usage))
        line = marshal.dumps(facts, MARSHAL_VERSION)
        entry = _HEADER.pack(len(line), zlib.crc32(line)) + line
        try:
            if os.pwrite(self._handle, entry + _END, self._end) >= len(entry):
                self._end += len(entry)
            else:  # a partial entry would make the following ones unreadable
                os.pwrite(self._handle, _END, self._end)
        except OSError:
            pass

    def clear(self) -> None:
        """Remove all entries, which are in the database, and keep the reserved space."""
        os.pwrite(self._handle, _END, 0)
        if self._end > RESERVED_BYTES:
            os.ftruncate(self._handle, RESERVED_BYTES)
        self._end = 0

    def close(self) -> None:
        """Release the space; all entries are in the database."""
        os.ftruncate(self._handle, 0)
        os.close(self._handle)


def read_journal(worker_dir: Path, name: str) -> dict[str, tuple[Outcome, Ending]]:
    """Return a lost worker's outcomes by token, up to the first invalid entry.

    A crash of the machine or another version of this program may have left such an entry. Streams larger than
    :data:`MAX_STREAM_BYTES` are in the spool only. Raises OSError if the file exists but cannot be read.
    """
    try:
        raw = journal_path(worker_dir, name).read_bytes()
    except FileNotFoundError:
        return {}
    outcomes: dict[str, tuple[Outcome, Ending]] = {}
    while len(raw) > _HEADER.size:
        size, checksum = _HEADER.unpack_from(raw)
        line, raw = raw[_HEADER.size : _HEADER.size + size], raw[_HEADER.size + size :]
        if not size or zlib.crc32(line) != checksum:
            break
        try:
            token, kind, arguments, facts, values, usage = marshal.loads(line)
            known = dict(zip(Ending._fields[:_FIELDS], facts, strict=True))
            ending = Ending(**known, values=tuple(map(CallValue._make, values)), usage=Usage._make(usage))
            outcomes[token] = (OUTCOME_CLASSES[kind](*arguments), ending)
        except (EOFError, ValueError, TypeError, KeyError):
            break
    return outcomes


def lock_journal(worker_dir: Path, name: str) -> Descriptor | None:
    """Lock a lost worker's journal and return the descriptor; None if another rescuer holds it.

    The worker itself never locks it, so this also works for a frozen worker.
    """
    try:
        return open_locked(journal_path(worker_dir, name), os.O_RDWR | os.O_CREAT)
    except BlockingIOError:
        return None
