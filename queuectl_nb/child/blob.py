"""Files of blobs: immutable content, named by its SHA-256. Written by enqueuers and by the processes of jobs."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

__all__ = [
    "MAX_INLINE_BYTES",
    "PARTIAL",
    "BlobWriter",
    "adopt_blob",
    "digest",
    "in_parallel",
    "open_blob",
    "read_blob",
    "write_blob",
    "write_new_blob",
]

MAX_INLINE_BYTES = 64 * 1024
"""A larger argument or value is stored once by its content, in a file beside the database."""
MIN_PARALLEL_BYTES = 4 * 1024 * 1024
"""Size from which a hash takes longer than the start of a thread by far."""
READ_BYTES = 1024 * 1024
PARTIAL = ".queuectl-partial"
"""End of the name of an artifact that is being written; one that is left is not kept."""

_numbers = itertools.count()


def digest(body: bytes) -> str:
    """Return the name of the blob with this content."""
    import hashlib  # 3 MB that a worker which runs commands does not need

    return hashlib.sha256(body).hexdigest()


def write_blob(folder: str, sha256: str, body: bytes) -> None:
    """Write a blob durably into ``folder``, which is created if needed; its file appears whole or not at all."""
    path = f"{folder}/{sha256}"
    if _is_complete(path, len(body)):
        with contextlib.suppress(OSError):  # removed at this moment
            os.utime(path)  # not a stray for another hour
            return
    with _create(folder) as (file, temporary):
        file.write(body)
        _publish(file, temporary, path)


def write_new_blob(folder: str, body: bytes) -> str:
    """Write a blob like :func:`write_blob` and return its name; that of a large one is computed meanwhile."""
    if len(body) < MIN_PARALLEL_BYTES:
        sha256 = digest(body)
        write_blob(folder, sha256, body)
        return sha256
    found: list[str] = []
    with _create(folder) as (file, temporary):
        with in_parallel(lambda: found.append(digest(body))):
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        _publish(file, temporary, f"{folder}/{found[0]}")
    return found[0]


@contextlib.contextmanager
def in_parallel(function: Callable[[], object]) -> Iterator[None]:
    """Call ``function`` in a thread during the block, or before it if no more threads are allowed."""
    import threading

    thread = threading.Thread(target=function)
    try:
        thread.start()
    except RuntimeError:
        function()
    try:
        yield
    finally:
        if thread.ident is not None:
            thread.join()


@contextlib.contextmanager
def _create(folder: str) -> Iterator[tuple[BinaryIO, str]]:
    """Create a file in ``folder`` and yield it with its path; remove it on failure."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = f"{folder}/new.{os.getpid()}.{next(_numbers)}.{time.monotonic_ns()}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, path
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _publish(file: BinaryIO, temporary: str, path: str) -> None:
    """Give a new file its name, durably."""
    file.flush()
    os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def adopt_blob(folder: str, sha256: str, path: str) -> None:
    """Make a file with the content of a blob that blob, durably; a copy would need as much space again."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOFOLLOW), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        _publish(file, path, f"{folder}/{sha256}")


class BlobWriter:
    """A file object for a pickle: a small one stays in memory, a large one becomes a blob while it is written.

    Its file is open as long as ``files``.

    Attributes
    ----------
    size
        Bytes written so far.
    error
        Why a write has failed, if one has.
    """

    def __init__(self, folder: str, files: contextlib.ExitStack) -> None:
        self._folder = folder
        self._files = files
        self._parts: list[bytes] = []
        self._file: tuple[BinaryIO, str] | None = None
        self.size = 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Append bytes, or another buffer."""
        import hashlib

        count = memoryview(data).nbytes
        self.size += count
        if self.size <= MAX_INLINE_BYTES:
            self._parts.append(bytes(data))
            return count
        try:
            if self._file is None:
                self._hash = hashlib.sha256()
                self._file = self._files.enter_context(_create(self._folder))
                for part in self._parts:
                    self._append(part)
            self._append(data)
        except OSError as error:
            self.error = error
            raise
        return count

    def _append(self, data: Any) -> None:
        if self._file is not None:
            self._hash.update(data)
            self._file[0].write(data)

    @property
    def body(self) -> bytes:
        """What was written, if that is small."""
        return b"".join(self._parts)

    def finish(self) -> str:
        """Return the name of the blob of what was written, which is large."""
        sha256 = self._hash.hexdigest()
        if self._file is not None:
            _publish(*self._file, f"{self._folder}/{sha256}")
        return sha256


def _is_complete(path: str, size: int) -> bool:
    """Return True if there is a regular file of this size."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def read_blob(path: str) -> bytes:
    """Return the content of a blob; raise OSError if the file is missing, changed, or not a regular file."""
    with open_blob(path) as file:
        return file.read()


@contextlib.contextmanager
def open_blob(path: str) -> Iterator[BinaryIO]:
    """Open a blob for reading; raise OSError like :func:`read_blob`. Its content is checked before it is read."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except OSError as error:
        error.filename = path  # of a directory, it is the descriptor
        raise
    with file:
        _check(file.fileno(), path)
        yield file


def _check(handle: int, path: str) -> None:
    """Raise OSError if the content of the blob that was opened as ``handle`` was changed."""
    import hashlib

    found = hashlib.sha256()
    buffer = memoryview(bytearray(READ_BYTES))
    position = 0
    try:
        while count := os.preadv(handle, [buffer], position):
            found.update(buffer[:count])
            position += count
    except OSError as error:
        error.filename = path
        raise
    if found.hexdigest() != os.path.basename(path):
        raise OSError(0, "its content was changed", path)
