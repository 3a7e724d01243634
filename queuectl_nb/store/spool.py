"""The spool: files beside the database into which jobs write, and what is kept of them afterwards.

An attempt's files are named by its token and made by whoever starts it, exclusively: a file that is there says
that the attempt was started. Each is flock'ed through the very descriptor that the job inherits, so a lock that is
held says that some process of the job is alive, whatever its session, parent, environment or pid namespace.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["Kept", "Seal", "Spool"]

STREAMS = ("stdout", "stderr")
MAX_RESULT = 16 * 1024 * 1024
"""Bytes of JSON that a job may leave as its result."""
_FLAGS = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class Kept(NamedTuple):
    """What the database keeps of a stream: all of it as head, or head and tail; ``size`` is the whole, in bytes."""

    head: str | bytes
    tail: str | bytes | None
    size: int
    spooled: bool
    """Whether the rest stays in the spool."""


class Seal:
    """The lock on an attempt whose worker is lost; ``started`` tells whether it had ever begun."""

    def __init__(self, handle: int, *, started: bool) -> None:
        """Hold the descriptor ``handle``."""
        self._handle = handle
        self.started = started

    def __enter__(self) -> Seal:
        """Keep the lock until the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the lock go; by now the attempt is settled and its file removed."""
        os.close(self._handle)


class Spool:
    """The files of attempts in one directory."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which is made private by the caller."""
        self.folder = folder

    def path(self, token: str, stream: str) -> Path:
        """Return the file of a stream (``stdout``, ``stderr``) or of the ``result``."""
        return self.folder / f"{token}.{stream}"

    def create(self, token: str) -> tuple[int, int]:
        """Make an attempt's two files, locked, and return their descriptors (stdout, stderr).

        Raises
        ------
        FileExistsError
            Somebody else made them: the attempt is not ours to start any more.
        """
        base = f"{self.folder}/{token}."
        out = os.open(base + "stdout", _FLAGS, 0o600)
        try:
            _lock_for_job(out)
            err = os.open(base + "stderr", _FLAGS, 0o600)
        except BaseException:
            os.close(out)
            raise
        fcntl.flock(err, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return out, err

    def seal(self, token: str) -> Seal | None:
        """Take an attempt's lock in the place of its lost worker; None while any process of it lives.

        From then on :meth:`create` fails for it, even in a worker that was frozen in the middle of that call: it
        finds the lock taken, or the file unlinked.
        """
        path = self.path(token, "stdout")
        started = True
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            try:
                handle = os.open(path, _FLAGS, 0o600)
            except FileExistsError:
                return None  # made this very moment: look again
            started = False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        if self._locked(self.path(token, "stderr")):
            os.close(handle)
            return None
        return Seal(handle, started=started)

    def held(self, token: str) -> bool:
        """Tell whether any process still holds one of the attempt's files."""
        return any(self._locked(self.path(token, stream)) for stream in STREAMS)

    @staticmethod
    def _locked(path: Path) -> bool:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def size(self, token: str, stream: str) -> int:
        """Return how many bytes the stream has so far; 0 where there is no file."""
        try:
            return os.stat(f"{self.folder}/{token}.{stream}").st_size  # noqa: PTH116 - on the hot path
        except FileNotFoundError:
            return 0

    def keep(self, token: str, stream: str, limit: int) -> Kept:
        """Return what the database keeps of a stream under ``limit`` bytes: half of it from either end."""
        size = self.size(token, stream)
        if not size:
            return Kept("", None, 0, spooled=False)
        if size <= limit:
            return Kept(_text(self._read(token, stream, 0, size)), None, size, spooled=False)
        half = limit // 2
        head = _cut_end(self._read(token, stream, 0, half))
        tail = _cut_start(self._read(token, stream, size - half, half))
        return Kept(_text(head), _text(tail), size, spooled=True)

    def _read(self, token: str, stream: str, offset: int, count: int) -> bytes:
        handle = os.open(self.path(token, stream), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return os.pread(handle, count, offset)
        finally:
            os.close(handle)

    def piece(self, token: str, stream: str, offset: int, count: int) -> bytes | None:
        """Return up to ``count`` bytes of a spooled stream from ``offset``; None where it is not in the spool."""
        try:
            return self._read(token, stream, offset, count)
        except FileNotFoundError:
            return None

    def result(self, token: str) -> tuple[str | None, str | None]:
        """Return the JSON that the job left, tidied, and what is wrong with it (None: nothing)."""
        path = f"{self.folder}/{token}.result"
        try:
            size = os.stat(path).st_size  # noqa: PTH116 - on the hot path: mostly there is none
        except FileNotFoundError:
            return None, None
        if size > MAX_RESULT:
            return None, f"its result was not taken: {size} bytes, {MAX_RESULT} at most"
        try:
            # NaN and infinities, which JSON does not have, become null
            value = json.loads(Path(path).read_bytes(), parse_constant=lambda _: None)
            return json.dumps(value, allow_nan=False), None
        except (ValueError, RecursionError, OSError) as error:
            return None, f"its result was not taken: not valid JSON ({error})"

    def remove(self, token: str, *, keep: frozenset[str] = frozenset()) -> None:
        """Remove an attempt's files, those of the streams in ``keep`` aside."""
        for stream in (*STREAMS, "result"):
            if stream not in keep:
                with contextlib.suppress(OSError):
                    os.unlink(f"{self.folder}/{token}.{stream}")  # noqa: PTH108 - on the hot path

    def tokens(self) -> set[str]:
        """Return the tokens of which something is spooled."""
        return {name.partition(".")[0] for name in os.listdir(self.folder)}  # noqa: PTH208

    def total(self) -> int:
        """Return the bytes on disk."""
        return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in os.scandir(self.folder))


def _lock_for_job(handle: int) -> None:
    """Lock the file that the job will inherit; fail as if it had been there when a rescuer was faster."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileExistsError from None
    if not os.fstat(handle).st_nlink:
        raise FileExistsError


def _text(raw: bytes) -> str | bytes:
    """Return clean UTF-8 as text, so that every SQLite tool shows it; anything else stays bytes."""
    if b"\0" in raw:
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _cut_end(raw: bytes) -> bytes:
    """Drop a character that the cut halved at the end."""
    for back in range(1, min(4, len(raw) + 1)):
        byte = raw[-back]
        if byte < 0x80:  # noqa: PLR2004 - ASCII: nothing halved
            return raw
        if byte >= 0xC0:  # noqa: PLR2004 - a leading byte: how many should follow it?
            need = 2 + (byte >= 0xE0) + (byte >= 0xF0)  # noqa: PLR2004
            return raw[:-back] if need > back else raw
    return raw


def _cut_start(raw: bytes) -> bytes:
    """Drop a character that the cut halved at the start."""
    start = 0
    while start < min(3, len(raw)) and raw[start] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte
        start += 1
    return raw[start:]
