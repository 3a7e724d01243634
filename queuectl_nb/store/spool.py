"""The spool: files beside the database that jobs write their output and result to.

An attempt starts in its worker's pair of files, which is reused: creating two files costs as much as a
command of a millisecond. A longer attempt, or one with more output, gets files named by its token. All files are
locked (flock) through the descriptor that the job inherits: a held lock means that some process of the job is alive,
whatever its session, parent, environment or pid namespace.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.store.artifacts import SUFFIX, artifact_dir, list_artifacts
from queuectl_nb.store.metrics import read_metrics
from queuectl_nb.store.output import next_data_offset, next_hole_offset, read_result
from queuectl_nb.store.regular_file import (
    REPLACED_ERRNOS,
    FolderWatch,
    last_write,
    open_locked,
    open_regular,
    remove_tree,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuectl_nb.model.metrics import ReportedMetrics

__all__ = ["STREAMS", "AttemptLock", "Spool", "WorkerFiles"]

STREAMS = ("stdout", "stderr")
TOKEN_LENGTH = 32
MAX_REPLY_BYTES = 256 * 1024 * 1024
READ_BYTES = 64 * 1024
_OPEN_FLAGS = os.O_CREAT | os.O_APPEND | os.O_WRONLY


class WorkerFiles:
    """The pair of files in which each attempt of a worker starts."""

    def __init__(self, folder: Path, name: str) -> None:
        """Use ``NAME.stdout``, ``NAME.stderr`` and ``NAME.reply`` in ``folder``."""
        self.folder = folder
        self.name = name
        self.paths = {stream: f"{folder}/{name}.{stream}" for stream in STREAMS}
        self.reply = f"{folder}/{name}.reply"
        """The reply of a Python job. A file of its own for each would cost the file system more than a short call."""
        self._watch = FolderWatch(folder)
        self._readers: list[int] = []
        """Descriptors of both files, unless they may have been replaced."""

    def open(self) -> tuple[int, int]:
        """Return descriptors of both files (stdout, stderr), empty and locked, for a job to inherit.

        Raises
        ------
        BlockingIOError
            A process of an earlier attempt, or a rescuer, holds a lock.
        """
        out = _open_locked(self.paths["stdout"])
        try:
            return out, _open_locked(self.paths["stderr"])
        except BaseException:
            os.close(out)
            raise

    def left_nothing(self, started: float) -> bool:
        """Return True if an attempt that began at ``started`` (monotonic) has certainly left nothing in the spool.

        That is neither output nor a file named by its token. Most short jobs leave nothing, and looking for each file
        took a twentieth of their time.
        """
        if self._watch.unchanged_since(started):
            with contextlib.suppress(OSError):
                if not self._readers:  # not earlier: the watch could miss that the files were replaced afterwards
                    self._readers = [open_regular(path, os.O_RDONLY) for path in self.paths.values()]
                return not any(os.lseek(handle, 0, os.SEEK_END) for handle in self._readers)
        while self._readers:
            os.close(self._readers.pop())
        return False

    def rename(self, token: str) -> None:
        """Rename the files to those of attempt ``token``; the next attempt gets new ones.

        Raises OSError, and keeps the names of both, if that is impossible: a directory may need room on a full disk.
        """
        renamed: list[tuple[str, str]] = []
        try:
            for stream, path in self.paths.items():
                with contextlib.suppress(FileNotFoundError):  # removed, by the job for example
                    own = f"{self.folder}/{token}.{stream}"
                    os.rename(path, own)
                    renamed.append((own, path))
        except OSError:
            for own, path in renamed:
                os.rename(own, path)
            raise

    def remove(self) -> None:
        """Remove the files."""
        for path in (*self.paths.values(), self.reply):
            remove_tree(path)

    def clear(self) -> None:
        """Empty the files after an attempt; remove anything the job has put in their place."""
        _clear(self.paths.values())

    def clear_reply(self) -> None:
        """Empty the reply before an attempt: that of an earlier one may have been left."""
        _clear([self.reply])


def _clear(paths: Iterable[str]) -> None:
    """Empty files; remove anything else in their place."""
    for path in paths:
        try:
            if os.lstat(path).st_size:  # the hot path: most streams are empty
                os.close(open_regular(path, os.O_WRONLY | os.O_TRUNC))
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in REPLACED_ERRNOS:
                raise
            remove_tree(path)


class AttemptLock(NamedTuple):
    """The locks of an attempt of a lost worker; they prove that none of its processes is alive.

    While they are held nothing can be started in the worker's files.
    """

    locks: contextlib.ExitStack
    """Releases the locks when it is closed."""
    files: WorkerFiles
    paths: dict[str, str]
    """The files of the attempt's streams."""
    started: bool
    """Whether the attempt had started."""
    current: bool
    """Whether it is the last one that the worker started."""


class Spool:
    """The directory with the files of attempts."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which the caller has made private."""
        self.folder = folder
        self._folder = os.fspath(folder)  # a string, for the hot path

    def path(self, token: str, stream: str) -> Path:
        """Return the path of a stream (``stdout``, ``stderr``) or of the ``result``."""
        return self.folder / f"{token}.{stream}"

    def worker_files(self, worker: str) -> WorkerFiles:
        """Return the files of a worker."""
        return WorkerFiles(self.folder, worker)

    def lock_attempt(self, token: str, worker: str, *, current: bool) -> AttemptLock | None:
        """Lock an attempt of a lost ``worker``; return None while a process of it may be alive.

        ``current`` says whether the attempt is the last one that the worker started.
        """
        files = self.worker_files(worker)
        named = {stream: f"{self._folder}/{token}.{stream}" for stream in STREAMS}
        named = {stream: path for stream, path in named.items() if os.path.lexists(path)}
        with contextlib.ExitStack() as locks:
            try:
                for path in (*named.values(), *files.paths.values()):
                    locks.callback(os.close, _open_locked(path))
            except BlockingIOError:
                return None
            paths = {**(files.paths if current else {}), **named}
            return AttemptLock(locks.pop_all(), files, paths, started=bool(named) or current, current=current)

    def size(self, token: str, stream: str) -> int:
        """Return the size of a stream in bytes; 0 without a file."""
        return self.last_write(token, stream)[1]

    def last_write(self, token: str, stream: str) -> tuple[int, int]:
        """Return the modification time (nanoseconds) and size of a stream; zeros without a file."""
        return last_write(f"{self._folder}/{token}.{stream}")

    def read(self, token: str, stream: str, offset: int, count: int) -> tuple[int, bytes] | None:
        """Return up to ``count`` bytes of a stream from ``offset``, and the offset at which they start.

        That is greater than ``offset`` inside a hole (see ``punch_middle``); a read also ends before a hole. None if
        there is no file of the stream.
        """
        try:
            handle = open_regular(f"{self._folder}/{token}.{stream}", os.O_RDONLY)
        except OSError as error:
            if error.errno == errno.ENOENT or error.errno in REPLACED_ERRNOS:
                return None
            raise
        with handle:
            start = next_data_offset(handle, offset)
            return start, os.pread(handle, min(count, next_hole_offset(handle, start) - start), start)

    def read_result(self, token: str) -> tuple[str | None, str | None]:
        """Return the job's result as normalized JSON and an error message; either may be None."""
        return read_result(f"{self._folder}/{token}.result")

    def read_metrics(self, token: str, started_at: float | None) -> ReportedMetrics | None:
        """Return what the job has reported; None if that is nothing."""
        return read_metrics(f"{self._folder}/{token}.metrics", started_at)

    def has_reports(self, token: str) -> bool:
        """Return True if there is a result or are metrics, or whatever the job has made in their place."""
        return os.path.lexists(f"{self._folder}/{token}.result") or os.path.lexists(f"{self._folder}/{token}.metrics")

    def read_reply(self, name: str) -> str:
        """Return what the process of a Python job has written about its calls, and empty the file.

        ``name`` is the worker, or the token of an attempt on another host. Empty if there is nothing.
        """
        parts: list[bytes] = []
        try:
            handle = open_regular(f"{self._folder}/{name}.reply", os.O_RDWR)
        except OSError:
            return ""
        with handle:
            while part := os.read(handle, READ_BYTES):
                parts.append(part)
                if len(parts) * READ_BYTES >= MAX_REPLY_BYTES:
                    break
            os.ftruncate(handle, 0)
        return b"".join(parts).decode("utf-8", "replace")

    def read_displays(self, token: str) -> bytes | None:
        """Return what the process of a cell has displayed, as lines of JSON; None without a file."""
        try:
            handle = open_regular(f"{self._folder}/{token}.displays", os.O_RDONLY)
        except OSError:
            return None
        with os.fdopen(handle, "rb") as file:
            return file.read(MAX_REPLY_BYTES)

    def remove(self, token: str, *, keep: frozenset[str] = frozenset()) -> None:
        """Remove the files of an attempt, except those in ``keep``: streams, or ``artifacts``."""
        for stream in (*STREAMS, "result", "reply", "metrics", "archive", "displays", "displays.new"):
            if stream not in keep:
                remove_tree(f"{self._folder}/{token}.{stream}")
        if "artifacts" not in keep:
            remove_tree(artifact_dir(self._folder, token))

    def tokens(self) -> set[str]:
        """Return the tokens that have files in the spool."""
        names = {name.partition(".")[0] for name in os.listdir(self._folder)}
        return {name for name in names if len(name) == TOKEN_LENGTH and "-" not in name}

    def disk_usage(self) -> int:
        """Return the disk space used, in bytes."""
        found = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    found += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.name.endswith(SUFFIX):
                        found += sum(each.size for each in list_artifacts(entry.path))
        return found


def _open_locked(path: str) -> int:
    """Open a file for appending and lock it; raise BlockingIOError if it is locked."""
    try:
        handle = open_locked(path, _OPEN_FLAGS)
    except OSError as error:
        if error.errno not in REPLACED_ERRNOS:
            raise
        remove_tree(path)
        handle = open_locked(path, _OPEN_FLAGS)
    os.set_blocking(handle, True)  # as jobs expect; only opening must not block
    return handle
