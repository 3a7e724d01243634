"""The record in a worker's lock file: what the worker runs, and where.

It is written in place, one system call at a time, and survives the death of the worker. A rescuer needs it to find the
processes of the last attempt, to check that it shares their pid namespace, and to leave a note for a frozen worker that
resumes.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from queuectl_nb.engine.heartbeat import boot_clock_ns, boot_id, host_name
from queuectl_nb.model.outcome import Lost
from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FROZE", "Origin", "RecordWriter", "WorkerRecord", "note_kill", "read_record", "started_processes"]

_HEARTBEAT = struct.Struct("<Q")
"""The record consists of the heartbeat, the attempt that was started last, the token of the one that was killed last,
and the origin as lines of text. :class:`WorkerRecord` names the fields."""
_ATTEMPT = struct.Struct("<32sQQQ")
_PROCESS = struct.Struct("<QQ")
"""The last two fields of ``_ATTEMPT``, which are written once the process has started."""
_TOKEN = struct.Struct("<32s")
_ATTEMPT_AT = _HEARTBEAT.size
_PROCESS_AT = _ATTEMPT_AT + _ATTEMPT.size - _PROCESS.size
_KILLED_AT = _ATTEMPT_AT + _ATTEMPT.size
_ORIGIN_AT = _KILLED_AT + _TOKEN.size
FROZE = "froze"
"""Why an attempt is lost that a rescuer killed because its worker was frozen."""


class Origin(NamedTuple):
    """Where a worker runs: its pid, host, boot, and the pid namespace in which pids are unique."""

    pid: int
    host: str
    boot: str
    pid_namespace: str

    @classmethod
    def here(cls) -> Self:
        """Return the origin of this process."""
        boot, _, namespace = boot_id().partition(" ")
        return cls(os.getpid(), host_name(), boot, namespace)

    @property
    def shares_pids(self) -> bool:
        """Whether its pids are those that this process sees."""
        here = Origin.here()
        return (self.boot, self.pid_namespace) == (here.boot, here.pid_namespace)

    @property
    def may_run_unseen(self) -> bool:
        """Whether its processes may be running where this process cannot see them.

        Not after a reboot of the same host.
        """
        here = Origin.here()
        return not self.shares_pids and (self.boot == here.boot or self.host != here.host)


class WorkerRecord(NamedTuple):
    """Contents of the record; times are nanoseconds of the boot clock, and zero or empty if not written yet."""

    heartbeat_ns: int = 0
    token: str = ""
    """The attempt that was started last."""
    spawn_began_ns: int = 0
    pid: int = 0
    """Its process, the leader of its session."""
    spawn_ended_ns: int = 0
    killed_token: str = ""
    """The attempt whose processes a rescuer killed last."""
    origin: Origin | None = None


class RecordWriter:
    """Writes the record of the worker ``name`` to its lock file."""

    def __init__(self, handle: int, name: str) -> None:
        """Write to the descriptor ``handle``, and record the origin now."""
        self._handle = handle
        self.name = name
        origin = "\n".join(str(each) for each in Origin.here()).encode()
        os.ftruncate(handle, _ORIGIN_AT)
        os.pwrite(handle, origin, _ORIGIN_AT)

    def begin(self, token: str) -> None:
        """Record the attempt that is about to start."""
        os.pwrite(self._handle, _ATTEMPT.pack(token.encode("ascii"), boot_clock_ns(), 0, 0), _ATTEMPT_AT)

    def started(self, pid: int) -> None:
        """Record the process of the attempt."""
        os.pwrite(self._handle, _PROCESS.pack(pid, boot_clock_ns()), _PROCESS_AT)

    def outcome_if_killed(self, token: str) -> Lost | None:
        """Return the outcome if a rescuer has killed the attempt; it may have started when the worker resumed."""
        if os.pread(self._handle, _TOKEN.size, _KILLED_AT) != token.encode("ascii"):
            return None
        return Lost(self.name, FROZE)


def note_kill(path: Path, token: str) -> None:
    """Note in the lock file ``path`` that a rescuer kills the processes of an attempt, for a worker that resumes."""
    with contextlib.suppress(FileNotFoundError), open_regular(path, os.O_WRONLY) as handle:
        os.pwrite(handle, _TOKEN.pack(token.encode("ascii")), _KILLED_AT)


def read_record(path: Path) -> WorkerRecord:
    """Return the record in the lock file ``path``; an empty one if the file does not exist.

    Raises OSError if the file exists but cannot be read: a started attempt must not be taken for an unstarted one.
    """
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        return WorkerRecord()
    fixed = raw[:_ORIGIN_AT].ljust(_ORIGIN_AT, b"\0")
    (beat,) = _HEARTBEAT.unpack_from(fixed)
    token, began, pid, ended = _ATTEMPT.unpack_from(fixed, _ATTEMPT_AT)
    (killed,) = _TOKEN.unpack_from(fixed, _KILLED_AT)
    return WorkerRecord(beat, _text(token), began, pid, ended, _text(killed), _parse_origin(raw[_ORIGIN_AT:]))


def started_processes(worker_dir: Path) -> Iterator[int]:
    """Yield the process that each worker has started last, dead or alive."""
    for lock in worker_dir.glob("*.lock"):
        with contextlib.suppress(OSError):
            yield read_record(lock).pid


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("ascii", "replace")


def _parse_origin(raw: bytes) -> Origin | None:
    """Return the origin; None if it is missing or incomplete."""
    pid, *rest = raw.decode("utf-8", "replace").split("\n")
    if len(rest) != len(Origin._fields) - 1 or not pid.isdigit():
        return None
    return Origin(int(pid), *rest)
