"""The disk space of a queue: how fast it grows, and how free pages of its file are given back to the file system."""

from __future__ import annotations

import contextlib
import math
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.store import artifacts, blobs
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Collection

    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.store import Store

__all__ = [
    "DAY",
    "KEPT_BYTES",
    "FileSpace",
    "Growth",
    "Housekeeping",
    "checkpoint",
    "free_disk_space",
    "read_growth",
    "read_space",
    "remove_strays",
    "shrink",
    "vacuum",
]

PRUNE_INTERVAL_S = 600.0
MAX_PRUNED_JOBS = 500
"""Maximum number of jobs pruned at once."""
MAX_SHRINK_S = 0.1
"""Maximum time for shrinking the file in each run."""
KEPT_BYTES = 8 * 1024 * 1024
"""Free space that is kept while workers run: giving it back and taking it again costs more than it saves."""
KEPT_SHARE = 0.1
"""Free space that is kept while workers run, as a share of the file."""
STEP_PAGES = 256
"""Pages removed per transaction: other writers wait for milliseconds, and a full disk has room in the log for it."""
STEP_PAUSE_S = 0.005
"""Pause between two transactions, in which other writers get the write lock."""
READER_TIMEOUT_S = 1.0
"""How long other writers wait for readers of an old snapshot, which keep the log from being truncated."""
INTERRUPT_CHECK_STEPS = 100_000
DAY = 86_400
WINDOW_S = DAY
"""The growth is estimated from a sample of the attempts that ended in this time."""
MIN_WINDOW_S = 3600.0
"""A new queue counts as this old, so that a burst of jobs is not taken for a trend."""
SAMPLES = 100
ROW_BYTES = 600
"""Space of a job and its attempt in tables and indexes, without output."""


class FileSpace(NamedTuple):
    """The pages of a database file. Pages of a file that is not ``incremental`` can only be freed by rewriting it."""

    page_bytes: int
    pages: int
    free_pages: int
    is_incremental: bool

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return self.pages * self.page_bytes

    @property
    def free(self) -> int:
        """Free bytes in the file."""
        return self.free_pages * self.page_bytes


def read_space(db: Database) -> FileSpace:
    """Return the space in the file; takes microseconds."""
    return FileSpace(*db.query(Q.file_space)[0])


def free_disk_space(db: Database) -> int:
    """Return the bytes that this user can write to the disk of the queue."""
    found = os.statvfs(db.file.parent)
    return (found.f_bavail if os.geteuid() else found.f_bfree) * found.f_frsize


def remove_strays(db: Database, now: float, blobs_before: Collection[str] = frozenset()) -> None:
    """Remove files of blobs and folders of artifacts that belong to no job, once they are old.

    Of the files ``blobs_before``, those that no job needs any more are removed whatever their age.
    """
    blobs.remove_strays(db, now, unused=blobs_before)
    artifacts.remove_stray_folders(db, now)


def shrink(db: Database, max_s: float) -> None:
    """Give back some of the free pages, for at most ``max_s`` seconds, unless jobs wait to be claimed."""
    space = read_space(db)
    kept = max(KEPT_BYTES, int(space.size * KEPT_SHARE)) // space.page_bytes
    if space.is_incremental and space.free_pages > kept and not db.query(Q.any_ready):
        _remove_free_pages(db, kept, max_s)
        space = read_space(db)
    if os.stat(db.file).st_size > space.size:  # the log has to be written to the file, which readers may have prevented
        checkpoint(db)


def checkpoint(db: Database) -> None:
    """Write as much of the log to the file as readers allow."""
    with db.exclusive() as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def vacuum(db: Database) -> int:
    """Give all free pages back to the file system; return by how many bytes the database has shrunk.

    A file that was made without incremental vacuum is rewritten, once: nobody else can write meanwhile.

    Raises
    ------
    BadEnvironment
        The disk has no room for that.
    """
    before = read_space(db)
    try:
        if before.is_incremental:
            _remove_free_pages(db, 0, math.inf)
        elif before.free_pages:
            _rewrite(db, before)
    finally:
        _truncate_log(db)
    return before.size - read_space(db).size


def _remove_free_pages(db: Database, kept: int, max_s: float) -> None:
    """Remove free pages from the end of the file, until ``kept`` are left or ``max_s`` is over."""
    deadline = time.monotonic() + max_s
    while (left := read_space(db).free_pages - kept) > 0 and time.monotonic() < deadline:
        with db.exclusive() as connection:
            # execute() would stop after one page
            connection.executescript(f"PRAGMA incremental_vacuum({min(left, STEP_PAGES)})")
        time.sleep(STEP_PAUSE_S)


def _rewrite(db: Database, space: FileSpace) -> None:
    """Rewrite the file without free pages, as one that can be shrunk in steps."""
    needed = space.size - space.free
    if free_disk_space(db) < needed:
        msg = f"{db.path} needs {needed // 2**20 + 1} MiB of free disk space to be rewritten; free some and try again"
        raise BadEnvironment(msg)
    with db.exclusive() as connection:
        connection.execute("PRAGMA temp_store = FILE")  # the copy does not fit into the memory
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.set_progress_handler(_check_interrupt, INTERRUPT_CHECK_STEPS)
        try:
            connection.execute("VACUUM")
        finally:
            connection.set_progress_handler(None, 0)
            connection.execute("PRAGMA temp_store = MEMORY")


def _check_interrupt() -> None:
    """Do nothing: a Ctrl+C takes effect when Python code is called, and its exception ends the statement."""


def _truncate_log(db: Database) -> None:
    """Write the log to the file, which shortens it, and empty it."""
    with db.exclusive() as connection:
        connection.execute(f"PRAGMA busy_timeout = {round(READER_TIMEOUT_S * 1000)}")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(db.lock_timeout_s * 1000)}")


class Housekeeping:
    """Removes old jobs and stray files beside running workers; a supervisor calls it in each maintenance run."""

    def __init__(self, store: Store) -> None:
        """Work on ``store``; the first prune is due after :data:`PRUNE_INTERVAL_S`."""
        self._store = store
        self._prune_at = time.monotonic() + PRUNE_INTERVAL_S

    def run(self, retention_days: float) -> None:
        """Prune and remove stray files if that is due, and shrink the file for a moment."""
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_INTERVAL_S
            if retention_days:
                self._prune(retention_days * 86_400)
            remove_strays(self._store.db, time.time())
        with contextlib.suppress(Busy):
            shrink(self._store.db, MAX_SHRINK_S)

    def _prune(self, age_s: float) -> None:
        """Remove some old jobs; continue in the next run if there are more."""
        removed = 0
        for number, tokens in self._store.jobs.prune(age_s, time.time()):
            for token in tokens:
                self._store.spool.remove(token)
            removed += number
            if removed >= MAX_PRUNED_JOBS:
                self._prune_at = 0.0
                break


class Growth(NamedTuple):
    """The growth of a queue in bytes per second, and when the disk is full at this rate (inf: never)."""

    bytes_per_s: float
    full_in_s: float


def read_growth(db: Database, settings: Settings, now: float) -> Growth:
    """Estimate the growth; takes a millisecond, however many jobs there are.

    With ``retention``, it ends when the oldest attempt is as old as that: from then on as much is deleted as is added.
    """
    since = now - WINDOW_S
    with db.read() as connection:
        found = connection.execute(Q.attempts_since, {"since": since}).fetchone()
        if found is None:
            return Growth(0.0, math.inf)
        first, began, last, oldest = found
        step = max(1, (last - first) // SAMPLES)
        values = {
            "since": since,
            "first": first,
            "last": last,
            "step": step,
            "row_bytes": ROW_BYTES,
            "output_limit": settings.output_limit,
            "spool_limit": settings.spool_limit,
        }
        (sampled,) = connection.execute(Q.sampled_output, values).fetchone()
    rate = sampled * step / max(now - began, MIN_WINDOW_S)
    full_in_s = (free_disk_space(db) + read_space(db).free) / rate
    grows_for_s = settings.retention * DAY - (now - oldest) if settings.retention else math.inf
    return Growth(rate, full_in_s if full_in_s < grows_for_s else math.inf)
