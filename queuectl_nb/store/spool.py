"""The spool: files beside the database into which jobs write.

An attempt begins in its worker's own pair of files, the slot, which is used again and again: making two files for a
command that lives a millisecond would cost as much as the command. One that lives longer, or prints more, gets files
named by its token. All are flock'ed through the very descriptor that the job inherits, so a lock that is held says
that some process of the job is alive, whatever its session, parent, environment or pid namespace.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Self

from queuectl_nb.store.output import next_data_offset, read_result
from queuectl_nb.store.regular_file import REPLACED_ERRNOS, open_regular

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["STREAMS", "AttemptLock", "Slot", "Spool"]

STREAMS = ("stdout", "stderr")
TOKEN_LENGTH = 32
_OPEN_FLAGS = os.O_CREAT | os.O_APPEND | os.O_WRONLY


class Slot:
    """A worker's pair of files, in which each of its attempts begins."""

    def __init__(self, folder: Path, name: str) -> None:
        """Use ``NAME.stdout`` and ``NAME.stderr`` in ``folder``."""
        self.folder = folder
        self.paths = {stream: f"{folder}/{name}.{stream}" for stream in STREAMS}

    def open(self) -> tuple[int, int]:
        """Return the two files' descriptors (stdout, stderr), empty and locked, for a job to inherit.

        Raises
        ------
        BlockingIOError
            Somebody holds one: a process of an earlier attempt, or a rescuer who settles in this worker's place.
        """
        out = _open_locked(self.paths["stdout"])
        try:
            return out, _open_locked(self.paths["stderr"])
        except BaseException:
            os.close(out)
            raise

    def rename(self, token: str) -> None:
        """Give the attempt that runs in the slot files of its own; the next one gets fresh ones."""
        for stream, path in self.paths.items():
            with contextlib.suppress(FileNotFoundError):  # a job, or somebody who tidies up, has removed it
                os.rename(path, f"{self.folder}/{token}.{stream}")

    def clear(self) -> None:
        """Empty the files of an attempt that is over; remove what its job has put in their place."""
        for path in self.paths.values():
            try:
                if os.lstat(path).st_size:  # on the hot path: mostly there is nothing
                    os.close(open_regular(path, os.O_WRONLY | os.O_TRUNC))
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in REPLACED_ERRNOS:
                    raise
                _remove(path)


class AttemptLock:
    """The locks on an attempt of a lost worker, taken while none of its processes lives.

    While they are held nothing can be started in the worker's slot. ``started`` tells whether the attempt had begun.
    """

    def __init__(self, handles: list[int], slot: Slot, paths: dict[str, str], *, started: bool) -> None:
        """Hold the descriptors; ``paths`` are where the attempt's streams lie."""
        self._handles = handles
        self._slot = slot
        self.paths = paths
        self.started = started

    def __enter__(self) -> Self:
        """Keep the locks until the end of the block, by which the attempt is settled."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the locks go."""
        for handle in self._handles:
            os.close(handle)

    def clear(self) -> None:
        """Empty the slot after the attempt that had begun in it was settled."""
        self._slot.clear()


class Spool:
    """The files of attempts in one directory."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which is made private by the caller."""
        self.folder = folder
        self._folder = os.fspath(folder)  # as text, which is what the hot path wants

    def path(self, token: str, stream: str) -> Path:
        """Return the file of a stream (``stdout``, ``stderr``) or of the ``result``."""
        return self.folder / f"{token}.{stream}"

    def slot(self, worker: str) -> Slot:
        """Return the slot of a worker."""
        return Slot(self.folder, worker)

    def lock_attempt(self, token: str, worker: str, *, current: bool) -> AttemptLock | None:
        """Take an attempt's locks in the place of its lost ``worker``; None while any process of it may live.

        ``current`` tells whether the attempt is the last that the worker started.
        """
        slot = self.slot(worker)
        named = {stream: f"{self._folder}/{token}.{stream}" for stream in STREAMS}
        named = {stream: path for stream, path in named.items() if os.path.lexists(path)}
        handles: list[int] = []
        try:
            for path in (*named.values(), *slot.paths.values()):
                handles.append(_open_locked(path))  # noqa: PERF401 - what is open must be closed on failure
        except BaseException as error:
            for handle in handles:
                os.close(handle)
            if isinstance(error, BlockingIOError):
                return None
            raise
        paths = {**(slot.paths if current else {}), **named}
        return AttemptLock(handles, slot, paths, started=bool(named) or current)

    def size(self, token: str, stream: str) -> int:
        """Return how many bytes the stream has so far; 0 where there is no file."""
        return self.last_write(token, stream)[1]

    def last_write(self, token: str, stream: str) -> tuple[int, int]:
        """Return when the stream was written to last (nanoseconds), and its size; zeros where there is no file."""
        try:
            found = os.lstat(f"{self._folder}/{token}.{stream}")
        except FileNotFoundError:
            return 0, 0
        return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else (0, 0)

    def read(self, token: str, stream: str, offset: int, count: int) -> tuple[int, bytes] | None:
        """Return where the next bytes of a spooled stream begin, at ``offset`` or later, and up to ``count`` of them.

        They begin later where the middle of the stream was given back. None where the spool has no file of the stream.
        """
        try:
            handle = open_regular(f"{self._folder}/{token}.{stream}", os.O_RDONLY)
        except OSError as error:
            if error.errno == errno.ENOENT or error.errno in REPLACED_ERRNOS:
                return None
            raise
        try:
            start = next_data_offset(handle, offset)
            return start, os.pread(handle, count, start)
        finally:
            os.close(handle)

    def read_result(self, token: str) -> tuple[str | None, str | None]:
        """Return the JSON that the job left, tidied, and what is wrong with it (None: nothing)."""
        return read_result(f"{self._folder}/{token}.result")

    def remove(self, token: str, *, keep: frozenset[str] = frozenset()) -> None:
        """Remove an attempt's files, those of the streams in ``spare`` aside."""
        for stream in (*STREAMS, "result"):
            if stream not in keep:
                _remove(f"{self._folder}/{token}.{stream}")

    def tokens(self) -> set[str]:
        """Return the tokens of which something is spooled."""
        names = {name.partition(".")[0] for name in os.listdir(self._folder)}
        return {name for name in names if len(name) == TOKEN_LENGTH and "-" not in name}

    def disk_usage(self) -> int:
        """Return the bytes on disk."""
        found = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed this very moment
                    found += entry.stat(follow_symlinks=False).st_blocks * 512
        return found


def _remove(path: str) -> None:
    """Remove a file of an attempt, or what its job has put in its place."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:  # a folder
        import shutil

        shutil.rmtree(path, ignore_errors=True)


def _open_locked(path: str) -> int:
    """Open a file for appending and lock it; raise BlockingIOError where somebody holds it."""
    try:
        handle = open_regular(path, _OPEN_FLAGS)
    except OSError as error:
        if error.errno not in REPLACED_ERRNOS:
            raise
        _remove(path)
        handle = open_regular(path, _OPEN_FLAGS)
    try:
        os.set_blocking(handle, True)  # as a job expects it: only the opening must not wait
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle
