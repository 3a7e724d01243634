"""Keeping a talkative job from filling the disk: the middle of a file that grew too large is given back.

The file keeps its length, so offsets in it stay true; the hole reads as nothing. Where the system cannot punch holes
(macOS, some file systems) the file is left as it is.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["next_data_offset", "punch_middle"]

BLOCK_BYTES = 4096
_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE needs FALLOC_FL_KEEP_SIZE


def punch_middle(paths: Iterable[str], limit: int) -> None:
    """Keep about ``limit`` bytes of each file: half of them from its beginning, half from its end."""
    for path in paths:
        with contextlib.suppress(OSError):  # the job has removed it, or put something else in its place
            status = os.lstat(path)  # looked at every second
            if status.st_size > limit + BLOCK_BYTES and status.st_blocks * 512 > limit + BLOCK_BYTES:
                begin = -(-(limit // 2) // BLOCK_BYTES) * BLOCK_BYTES
                end = (status.st_size - limit // 2) // BLOCK_BYTES * BLOCK_BYTES
                if end > begin:
                    _punch(path, begin, end - begin)


def _punch(path: str, offset: int, length: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    handle = open_regular(path, os.O_RDWR)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate(handle, _PUNCH_HOLE, ctypes.c_long(offset), ctypes.c_long(length))
    finally:
        os.close(handle)


def next_data_offset(handle: int, offset: int) -> int:
    """Return where the next byte lies that was not given back, from ``offset``; the file's end when there is none."""
    if not hasattr(os, "SEEK_DATA"):
        return offset
    try:
        return os.lseek(handle, offset, os.SEEK_DATA)
    except OSError:
        return max(offset, os.fstat(handle).st_size)
