"""What the database keeps of a stream: all of it, or its two ends."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from queuectl_nb.store.regular_file import open_regular

__all__ = ["EMPTY_STREAM", "StoredStream", "read_truncated"]


class StoredStream(NamedTuple):
    """What the database keeps of a stream: all of it as head, or head and tail; ``size`` is the whole, in bytes."""

    head: str | bytes
    tail: str | bytes | None
    size: int
    spooled: bool
    """Whether the rest stays in the spool."""


EMPTY_STREAM = StoredStream("", None, 0, spooled=False)


def read_truncated(path: str, limit: int) -> StoredStream:
    """Return what the database keeps of the stream in ``path`` under ``limit`` bytes: half of it from either end.

    Raises
    ------
    OSError
        It cannot be read, or is no file any more: a job may put anything in the place of its output.
    """
    try:
        found = os.lstat(path)  # on the hot path: mostly there is nothing
        size = found.st_size
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a file any more", path)
        if not size:
            return EMPTY_STREAM
        if size <= limit:
            return StoredStream(_decode(_read(path, 0, size)), None, size, spooled=False)
        half = limit // 2
        head = _drop_partial_end(_read(path, 0, half))
        tail = _drop_partial_start(_read(path, size - half, half))
    except FileNotFoundError:
        return EMPTY_STREAM
    return StoredStream(_decode(head), _decode(tail), size, spooled=True)


def _read(path: str, offset: int, count: int) -> bytes:
    handle = open_regular(path, os.O_RDONLY)
    try:
        return os.pread(handle, count, offset)
    finally:
        os.close(handle)


def _decode(raw: bytes) -> str | bytes:
    """Return clean UTF-8 as text, so that every SQLite tool shows it; anything else stays bytes."""
    if b"\0" in raw:
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _drop_partial_end(raw: bytes) -> bytes:
    """Drop a character that the cut halved at the end."""
    for back in range(1, min(4, len(raw) + 1)):
        byte = raw[-back]
        if byte < 0x80:
            return raw
        if byte >= 0xC0:
            need = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return raw[:-back] if need > back else raw
    return raw


def _drop_partial_start(raw: bytes) -> bytes:
    """Drop a character that the cut halved at the start."""
    start = 0
    while start < min(3, len(raw)) and raw[start] & 0xC0 == 0x80:
        start += 1
    return raw[start:]
