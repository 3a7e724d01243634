"""Which attempts a dispatcher has sent away, kept where kill -9 cannot reach it.

Whoever settles in a dead dispatcher's place must know which of its attempts may have begun, on a host that it cannot
look at. Each token is written to a file (a system call; the kernel keeps it) before the attempt leaves.
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

LONG = 4096
"""Tokens after which the file is written anew with those that still count."""


def _path(worker_dir: Path, name: str) -> Path:
    return worker_dir / f"{name}.sent"


class DispatchJournal:
    """The writing side, in the dispatcher ``name``."""

    def __init__(self, worker_dir: Path, name: str) -> None:
        """Begin with an empty list: what the name's last owner held is settled."""
        self._name = _path(worker_dir, name)
        self._handle = self._open(self._name)
        self._count = 0

    @staticmethod
    def _open(path: Path) -> int:
        return open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def add(self, token: str) -> None:
        """Write down that an attempt is about to leave; raises OSError where that cannot be written."""
        _write(self._handle, f"{token}\n")
        self._count += 1

    def compact(self, open_tokens: Collection[str]) -> None:
        """Forget all but ``open_tokens``, once in a while; where there is no room for that, the list stays as it is."""
        if self._count < LONG + 2 * len(open_tokens):
            return
        fresh = self._name.with_suffix(".new")
        try:
            handle = self._open(fresh)
        except OSError:
            return
        try:
            _write(handle, "".join(f"{token}\n" for token in open_tokens))
            fresh.rename(self._name)
        except OSError:
            os.close(handle)
            fresh.unlink(missing_ok=True)
            return
        os.close(self._handle)
        self._handle, self._count = handle, len(open_tokens)


def _write(handle: int, text: str) -> None:
    """Write all of it or nothing, and raise OSError then: a part would be taken for another token."""
    raw = text.encode("ascii")
    done = os.write(handle, raw)
    if done < len(raw):
        os.ftruncate(handle, os.fstat(handle).st_size - done)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_dispatched(worker_dir: Path, name: str) -> frozenset[str]:
    """Return the tokens of the attempts that the dispatcher ``name`` sent away; empty for a worker of this host.

    Raises OSError where the list is there and cannot be read: what it names may run elsewhere.
    """
    try:
        return frozenset(_path(worker_dir, name).read_text("ascii", "replace").split())
    except FileNotFoundError:
        return frozenset()
