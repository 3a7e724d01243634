"""Reads output and results of attempts from spool files, and keeps both within their size limits."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from queuectl_nb.model.settings import Settings

__all__ = [
    "EMPTY_STREAM",
    "MAX_RESULT_BYTES",
    "StoredStream",
    "limit_files",
    "next_data_offset",
    "next_hole_offset",
    "normalize_json",
    "punch_middle",
    "read_range",
    "read_result",
    "read_truncated",
]

MAX_RESULT_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 500
"""Nesting levels allowed in a result: every SQLite and every Python can read that many back."""
BLOCK_BYTES = 4096
FULL_DISK_BYTES = 1024 * 1024
"""Free space below which a disk counts as full."""
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE needs FALLOC_FL_KEEP_SIZE


class StoredStream(NamedTuple):
    """The part of a stream that the database stores: all of it as ``head``, or ``head`` and ``tail``."""

    head: str | bytes
    tail: str | bytes | None
    size: int
    """Size of the whole stream in bytes."""
    spooled: bool
    """Whether the full stream stays in the spool."""


EMPTY_STREAM = StoredStream("", None, 0, spooled=False)


# ---------------------------------------------------------------------- streams


def read_truncated(path: str, limit: int) -> StoredStream:
    """Read a stream, or its first and last ``limit // 2`` bytes if it is longer than ``limit``.

    Of a stream whose middle was freed (:func:`limit_files`), what is before the first hole and after the last is read.

    Raises
    ------
    OSError
        The file cannot be read, or the job has replaced it with something other than a regular file.
    """
    try:
        found = os.lstat(path)  # the hot path: most streams are empty
        size = found.st_size
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if not size:
            return EMPTY_STREAM
        if size <= limit and found.st_blocks * 512 >= size:  # without a hole
            return StoredStream(_decode(read_range(path, 0, size)), None, size, spooled=False)
        head, tail = _read_ends(path, size, size if size <= limit else limit // 2)
    except FileNotFoundError:
        return EMPTY_STREAM
    if len(head) == size:
        return StoredStream(_decode(head), None, size, spooled=False)
    return StoredStream(
        _decode(_drop_partial_end(head)), _decode(_drop_partial_start(tail)), size, spooled=size > limit
    )


def _read_ends(path: str, size: int, count: int) -> tuple[bytes, bytes]:
    """Return up to ``count`` bytes from the start of a file of ``size`` bytes, and from its end, without holes."""
    with open_regular(path, os.O_RDONLY) as handle:
        head = os.pread(handle, min(count, next_hole_offset(handle, 0)), 0)
        start = max(size - count, len(head))
        while (hole := next_hole_offset(handle, start)) < size:
            start = next_data_offset(handle, hole)
        return head, os.pread(handle, size - start, start) if start < size else b""


def read_range(path: str, offset: int, count: int) -> bytes:
    """Read up to ``count`` bytes of a regular file from ``offset``."""
    with open_regular(path, os.O_RDONLY) as handle:
        return os.pread(handle, count, offset)


def _decode(raw: bytes) -> str | bytes:
    """Return valid UTF-8 as text, which every SQLite tool displays; return anything else as bytes."""
    if b"\0" in raw:
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _drop_partial_end(raw: bytes) -> bytes:
    """Drop an incomplete UTF-8 character at the end."""
    for back in range(1, min(4, len(raw) + 1)):
        byte = raw[-back]
        if byte < 0x80:
            return raw
        if byte >= 0xC0:
            need = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return raw[:-back] if need > back else raw
    return raw


def _drop_partial_start(raw: bytes) -> bytes:
    """Drop an incomplete UTF-8 character at the start."""
    start = 0
    while start < min(3, len(raw)) and raw[start] & 0xC0 == 0x80:
        start += 1
    return raw[start:]


# ---------------------------------------------------------------------- large files


def limit_files(paths: Iterable[str], settings: Settings) -> bool:
    """Free the middle of each file over ``spool_limit``, and over ``output_limit`` while the disk is full.

    Return True if the disk is full and output was lost. Without that nothing could be recorded until somebody frees
    space, not even the end of the job whose output has filled the disk.
    """
    paths = list(paths)
    punch_middle(paths, settings.spool_limit)
    large = [path for path in paths if _is_larger(path, settings.output_limit)]
    if not large or not _is_disk_full(os.path.dirname(large[0])):
        return False
    punch_middle(large, settings.output_limit)
    return True


def _is_larger(path: str, limit: int) -> bool:
    """Return True if a file takes more than ``limit`` bytes; cheap, because this runs every second."""
    try:
        status = os.lstat(path)
    except OSError:  # the job may have removed it
        return False
    return status.st_size > limit + BLOCK_BYTES and status.st_blocks * 512 > limit + BLOCK_BYTES


def _is_disk_full(folder: str) -> bool:
    """Try to reserve space, because quotas count too; False where that is impossible, as on macOS."""
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        handle = os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600)
        try:
            os.posix_fallocate(handle, 0, FULL_DISK_BYTES)
        finally:
            os.close(handle)
    except OSError as error:
        return error.errno in _DISK_FULL
    return False


def punch_middle(paths: Iterable[str], limit: int) -> None:
    """Free the middle of each file larger than ``limit`` bytes, keeping half of the limit at each end.

    The file keeps its length, so offsets stay valid. Where holes are not supported (macOS, some file systems) nothing
    happens.
    """
    for path in filter(lambda path: _is_larger(path, limit), paths):
        with contextlib.suppress(OSError):  # the job may have removed or replaced it
            begin = -(-(limit // 2) // BLOCK_BYTES) * BLOCK_BYTES
            end = (os.lstat(path).st_size - limit // 2) // BLOCK_BYTES * BLOCK_BYTES
            if end > begin:
                _punch(path, begin, end - begin)


def _punch(path: str, offset: int, length: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with open_regular(path, os.O_RDWR) as handle:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate(handle, _PUNCH_HOLE, ctypes.c_long(offset), ctypes.c_long(length))


def next_data_offset(handle: int, offset: int) -> int:
    """Return the offset of the next byte that is not in a hole; the end of the file if there is none."""
    if not hasattr(os, "SEEK_DATA"):
        return offset
    return _seek(handle, offset, os.SEEK_DATA)


def next_hole_offset(handle: int, offset: int) -> int:
    """Return the offset of the next byte that is in a hole; the end of the file if there is none."""
    if not hasattr(os, "SEEK_HOLE"):
        return max(offset, os.fstat(handle).st_size)
    return _seek(handle, offset, os.SEEK_HOLE)


def _seek(handle: int, offset: int, whence: int) -> int:
    try:
        return os.lseek(handle, offset, whence)
    except OSError:
        return max(offset, os.fstat(handle).st_size)


# ---------------------------------------------------------------------- results


def read_result(path: str) -> tuple[str | None, str | None]:
    """Return the normalized JSON in ``path`` and an error message; (None, None) if there is no file."""
    if not os.access(
        path, os.F_OK, follow_symlinks=False
    ):  # most jobs leave none; an exception costs three times as much
        return None, None
    try:
        handle = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"its result was not stored: {error.strerror}"
    try:
        with handle:
            return _parse_file(handle), None
    except (ValueError, OSError) as error:
        return None, f"its result was not stored: {error}"


def _parse_file(handle: int) -> str:
    size = os.fstat(handle).st_size
    if size > MAX_RESULT_BYTES:
        raise ValueError(f"{size} bytes, at most {MAX_RESULT_BYTES} are allowed")
    try:
        with os.fdopen(handle, "rb", closefd=False) as file:
            return normalize_json(file.read(MAX_RESULT_BYTES))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from error


def normalize_json(raw: bytes) -> str:
    """Return JSON that the database accepts: NaN and infinities become null."""
    value = _DECODER.decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    text = _ENCODER.encode(value)
    return _replace_surrogates(value) if r"\ud" in text else text


def _replace_surrogates(value: Any) -> str:
    """Return JSON with lone surrogates replaced by U+FFFD: they cannot be encoded or displayed."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return json.dumps(json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")))


def _parse_finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


# with such options, json.loads() and json.dumps() create these in each call: most of the work for a short result
_DECODER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_parse_finite)
_ENCODER = json.JSONEncoder(allow_nan=False)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for each in level
            if isinstance(each, list | dict)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
