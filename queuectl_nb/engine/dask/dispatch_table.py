"""Table of the attempts that a dispatcher has sent to dask workers.

A process that settles for a dead dispatcher must know which of its attempts may run on a host that it cannot inspect.
So each token is written to a file, which survives kill -9, before the attempt is sent.
"""

from __future__ import annotations

import os
from pathlib import Path

from queuectl_nb.store.regular_file import open_regular
from queuectl_nb.store.spool import TOKEN_LENGTH

__all__ = ["DispatchTable", "read_dispatched"]


def _path(worker_dir: Path, name: str) -> Path:
    return worker_dir / f"{name}.dispatched"


class DispatchTable:
    """The writing side, in the dispatcher ``name``. The file has a record for each attempt in flight."""

    def __init__(self, worker_dir: Path, name: str) -> None:
        """Start empty: the attempts of the name's previous owner are settled."""
        self._fd = open_regular(_path(worker_dir, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._indexes: dict[str, int] = {}
        self._free: list[int] = []

    def add(self, token: str) -> None:
        """Record that an attempt is about to be sent; raise OSError if that cannot be written."""
        index = self._free[-1] if self._free else len(self._indexes)
        os.pwrite(self._fd, token.encode("ascii"), index * TOKEN_LENGTH)  # never in part: a record is inside one block
        if self._free:
            self._free.pop()
        self._indexes[token] = index

    def remove(self, token: str) -> None:
        """Let the record of an ended attempt be overwritten; until then its token stays, which does no harm."""
        self._free.append(self._indexes.pop(token))


def read_dispatched(worker_dir: Path, name: str) -> frozenset[str]:
    """Return the tokens of the attempts that a dispatcher has sent, and of some that are settled.

    Raises OSError if the file exists but cannot be read: its attempts may run elsewhere.
    """
    try:
        handle = open_regular(_path(worker_dir, name), os.O_RDONLY)
    except FileNotFoundError:  # a local worker
        return frozenset()
    with os.fdopen(handle, encoding="ascii", errors="replace") as file:
        return frozenset(iter(lambda: file.read(TOKEN_LENGTH), ""))
