"""Blobs: immutable bytes that jobs share, identified by the SHA-256 of their content.

A small blob is a row. A larger one is a file in the spool; its row says who needs it. A file is written and synced
before the transaction that refers to it, and checked again within that transaction. It is removed after the last job
that uses it. A file that never had a row, since its enqueue was killed, is removed when it is an hour old. Both are
done under the write lock, so that none is removed that a transaction is about to refer to.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import TYPE_CHECKING

from queuectl_nb.child.blob import MAX_INLINE_BYTES, write_blob
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.os_errors import os_reason
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from queuectl_nb.model.call import Blob, Payload
    from queuectl_nb.store.connection import Database

__all__ = [
    "STRAY_AGE_S",
    "blob_dir",
    "blob_files",
    "find_missing",
    "find_strays",
    "insert_blobs",
    "remove_strays",
    "write_blob_files",
    "write_blobs_of",
]

STRAY_AGE_S = 3600.0
"""Age from which a file without a row is removed; a transaction that refers to it may be about to start."""
CLOCK_TICK_S = 1.0
"""A file may seem to be that much older than it is."""


def blob_dir(spool: Path) -> str:
    """Return the directory of the blobs that are files, in the directory of the spool."""
    return f"{spool}/blobs"


def write_blob_files(db: Database, blobs: Iterable[Blob]) -> None:
    """Write the large ones of ``blobs`` as files, durably; raise :class:`BadEnvironment` if that is impossible."""
    folder = blob_dir(db.output_dir)
    try:
        for blob in blobs:
            if len(blob.body) > MAX_INLINE_BYTES:
                write_blob(folder, blob.sha256, blob.body)
    except OSError as error:
        msg = f"{folder}: {os_reason(error)}; nothing was enqueued"
        raise BadEnvironment(msg) from error


def write_blobs_of(db: Database, payloads: Iterable[Payload | None]) -> None:
    """Write the files of the large blobs that ``payloads`` need."""
    unique = {blob.sha256: blob for payload in payloads if payload for blob in payload.blobs}
    write_blob_files(db, unique.values())


def insert_blobs(db: Database, connection: sqlite3.Connection, jobs: Mapping[int, Sequence[Blob]]) -> None:
    """Record the blobs that ``jobs`` (by seq) need, in the current transaction."""
    unique = {blob.sha256: blob for blobs in jobs.values() for blob in blobs}
    write_blob_files(db, unique.values())  # costs a look at each file, unless one was removed meanwhile
    rows = [
        (blob.sha256, len(blob.body), None if len(blob.body) > MAX_INLINE_BYTES else blob.body)
        for blob in unique.values()
    ]
    connection.executemany(Q.keep_blob, rows)
    connection.executemany(Q.use_blob, [(seq, blob.sha256) for seq, blobs in jobs.items() for blob in blobs])


def find_strays(
    db: Database, now: float, age_s: float = STRAY_AGE_S, unused: Collection[str] = frozenset()
) -> list[str]:
    """Return the names of files that no job needs and that are older than ``age_s`` seconds, or among ``unused``.

    Values are recorded at the end of an attempt, so files that may have been written by a running one are left out.
    """
    with db.read() as connection:
        (started_at,) = connection.execute(Q.oldest_python_start).fetchone()
        limit = math.inf if started_at is None else started_at - CLOCK_TICK_S
        try:
            with os.scandir(blob_dir(db.output_dir)) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if entry.stat(follow_symlinks=False).st_mtime
                    < (limit if entry.name in unused else min(limit, now - age_s))
                ]
        except FileNotFoundError:
            return []
        known = {sha for (sha,) in connection.execute(Q.known_blobs, {"names": json.dumps(names)})}
    return [name for name in names if name not in known]


def remove_strays(db: Database, now: float, age_s: float = STRAY_AGE_S, unused: Collection[str] = frozenset()) -> int:
    """Remove the files that :func:`find_strays` finds; return how many."""
    if not find_strays(db, now, age_s, unused):
        return 0
    removed = 0
    with db.write():  # nobody refers to one of them meanwhile
        for name in find_strays(db, now, age_s, unused):
            with contextlib.suppress(OSError):
                os.unlink(f"{blob_dir(db.output_dir)}/{name}")
                removed += 1
    return removed


def blob_files(db: Database) -> set[str]:
    """Return the names of blobs that are files."""
    return {sha for (sha,) in db.query(Q.blob_files)}


def find_missing(db: Database) -> list[str]:
    """Return the names of blobs whose file does not exist."""
    folder = blob_dir(db.output_dir)
    return [name for name in sorted(blob_files(db)) if not os.path.isfile(f"{folder}/{name}")]
