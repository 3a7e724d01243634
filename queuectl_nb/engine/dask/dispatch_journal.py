"""Write-ahead log of the attempts that a dispatcher sends to dask workers.

A process that settles for a dead dispatcher must know which of its attempts may run on a host that it cannot inspect.
So each token is written to a file, which survives kill -9, before the attempt is sent.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from queuectl_nb.store.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["DispatchJournal", "read_dispatched"]

COMPACT_TOKENS = 4096
"""Tokens after which the file is rewritten without those that are settled."""


def _path(worker_dir: Path, name: str) -> Path:
    return worker_dir / f"{name}.dispatched"


class DispatchJournal:
    """The writing side, in the dispatcher ``name``."""

    def __init__(self, worker_dir: Path, name: str) -> None:
        """Start empty: the attempts of the name's previous owner are settled."""
        self._path = _path(worker_dir, name)
        self._fd = self._open(self._path)
        self._count = 0

    @staticmethod
    def _open(path: Path) -> int:
        return open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def add(self, token: str) -> None:
        """Record that an attempt is about to be sent; raise OSError if that cannot be written."""
        _write(self._fd, f"{token}\n")
        self._count += 1

    def compact(self, open_tokens: Collection[str]) -> None:
        """Rewrite the file with only ``open_tokens`` once it is long; keep it as it is if the disk is full."""
        if self._count < COMPACT_TOKENS + 2 * len(open_tokens):
            return
        new_path = self._path.with_suffix(".new")
        try:
            fd = self._open(new_path)
        except OSError:
            return
        try:
            _write(fd, "".join(f"{token}\n" for token in open_tokens))
            new_path.rename(self._path)
        except OSError:
            os.close(fd)
            new_path.unlink(missing_ok=True)
            return
        os.close(self._fd)
        self._fd, self._count = fd, len(open_tokens)


def _write(fd: int, text: str) -> None:
    """Write all of it, or nothing and raise OSError: a part of a token would corrupt the next one."""
    raw = text.encode("ascii")
    done = os.write(fd, raw)
    if done < len(raw):
        os.ftruncate(fd, os.fstat(fd).st_size - done)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_dispatched(worker_dir: Path, name: str) -> frozenset[str]:
    """Return the tokens of the attempts that a dispatcher has sent; empty for a local worker.

    Raises OSError if the file exists but cannot be read: its attempts may run elsewhere.
    """
    try:
        handle = open_regular(_path(worker_dir, name), os.O_RDONLY)
    except FileNotFoundError:
        return frozenset()
    with os.fdopen(handle, encoding="ascii", errors="replace") as file:
        return frozenset(file.read().split())
