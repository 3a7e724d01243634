"""The artifact folder of an attempt: how it is created, and what is kept of its content.

All attempts of a worker get the folder ``WORKER.artifacts``, because creating one for each would cost a tenth of a
short job. If an attempt has left something there, it is renamed to ``TOKEN.artifacts``, and the next attempt gets a
new one. A job may put anything there. When it has ended, links, special files and what exceeds the limit are removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from typing import TYPE_CHECKING

from queuectl_nb.child.blob import PARTIAL
from queuectl_nb.store.artifacts import artifact_dir, is_valid_name
from queuectl_nb.store.regular_file import OPEN_DIR, Descriptor, FolderWatch, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from queuectl_nb.model.attempt import KeptArtifacts

__all__ = ["ArtifactFolder", "is_empty_folder", "keep_artifacts", "take_left"]

BLOCK_BYTES = 4096
"""Minimum size that a file or folder counts for, so that the limit also bounds their number."""


def is_empty_folder(path: str) -> bool:
    """Return True for an empty private folder, which another attempt can use."""
    try:
        handle = Descriptor(os.open(path, OPEN_DIR))
    except OSError:
        return False
    with handle:
        return not os.listdir(handle) and os.fstat(handle).st_mode == stat.S_IFDIR | stat.S_IRWXU


class ArtifactFolder:
    """The folder that the attempts of a worker get, one after the other."""

    def __init__(self, spool: str | os.PathLike[str], worker: str) -> None:
        self.path = artifact_dir(spool, worker)
        self._spool = os.fspath(spool)
        self._watch = FolderWatch(self.path)
        self._is_empty = False
        """Whether there is a folder that the next attempt can use."""

    def prepare(self) -> None:
        """Make the folder, if there is none that can be used."""
        if not self._is_empty:
            remove_tree(self.path)
            os.mkdir(self.path, 0o700)
            self._is_empty = True

    def take(self, token: str, started: float, limit: int) -> KeptArtifacts | None:
        """Move the artifacts of an attempt that began at ``started`` (monotonic) to a folder of its own.

        Return None if there are none.
        """
        if self._watch.unchanged_since(started):
            return None
        kept = take_left(self._spool, self.path, token, limit)
        self._is_empty = is_empty_folder(self.path)
        return kept

    def close(self) -> None:
        """Remove the folder, which is empty."""
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


def take_left(spool: str, path: str, token: str, limit: int) -> KeptArtifacts | None:
    """Rename the folder ``path`` of a worker to that of an attempt if it has artifacts; return what was kept."""
    kept = keep_artifacts(path, limit)
    if kept is not None and kept.files:
        try:
            os.rename(path, artifact_dir(spool, token))
        except OSError as error:  # the disk is full
            remove_tree(path)
            from queuectl_nb.model.attempt import KeptArtifacts  # not loaded by an enqueue

            return KeptArtifacts(0, 0, f"its artifacts were not kept: {error.strerror}")
    return kept


def keep_artifacts(path: str, limit: int) -> KeptArtifacts | None:
    """Remove what is not kept, and count the rest; None if the job has left nothing.

    No process of the attempt is left. A folder that is empty stays, for another attempt; anything else that contains
    no artifacts is removed.
    """
    if is_empty_folder(path):
        return None
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    cleaner = _Cleaner(path, limit)
    if stat.S_ISDIR(found.st_mode):
        cleaner.clean()
    else:
        cleaner.dropped["something in place of the folder"] += 1
    if not cleaner.files:
        remove_tree(path)
        if not cleaner.dropped:
            return None
    from queuectl_nb.model.attempt import KeptArtifacts

    return KeptArtifacts(cleaner.files, cleaner.size, cleaner.note())


class _Cleaner:
    """Goes through a folder once, and removes what is not kept."""

    def __init__(self, path: str, limit: int) -> None:
        self.files = self.size = 0
        self.dropped = Counter[str]()
        self._path = path
        self._limit = limit
        self._used = 0

    def clean(self) -> None:
        """Remove what is not kept, folder by folder."""
        folders = [""]
        while folders:
            folder = folders.pop()
            path = f"{self._path}/{folder}"
            try:
                os.chmod(path, 0o700)  # the job may have changed it
                with os.scandir(path) as entries:
                    folders += [f"{name}/" for name in self._clean_folder(folder, entries)]
            except OSError as error:
                self.dropped[f"folders that cannot be read: {error.strerror}"] += 1

    def _clean_folder(self, folder: str, entries: Iterable[os.DirEntry[str]]) -> Iterator[str]:
        """Remove what is not kept of a folder; yield the names of its subfolders."""
        for entry in entries:
            name = f"{folder}{entry.name}"
            if name.endswith(PARTIAL):
                remove_tree(entry.path)
            elif why := self._refusal(name, entry):
                self.dropped[why] += 1
                remove_tree(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield name

    def _refusal(self, name: str, entry: os.DirEntry[str]) -> str:
        """Return why an entry is not kept, or count it."""
        found = entry.stat(follow_symlinks=False)
        is_dir = stat.S_ISDIR(found.st_mode)
        if not is_dir and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1):
            regular = stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)
            return "links" if regular else "special files"
        if not is_valid_name(name):
            return "invalid names"
        size = 0 if is_dir else found.st_size
        used = max(BLOCK_BYTES, -(-size // BLOCK_BYTES) * BLOCK_BYTES)
        if self._used + used > self._limit:
            return f"over artifact_limit of {self._limit} bytes"
        self._used += used
        self.size += size
        self.files += not is_dir
        if not is_dir and not found.st_mode & stat.S_IRUSR:
            os.chmod(entry.path, 0o600)
        return ""

    def note(self) -> str | None:
        """Return a sentence about what was not kept."""
        if not self.dropped:
            return None
        reasons = ", ".join(f"{why} ({count})" for why, count in sorted(self.dropped.items()))
        total = self.dropped.total()
        return f"{total} artifact{'s were' if total > 1 else ' was'} not kept: {reasons}"
