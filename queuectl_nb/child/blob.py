"""Files of blobs: immutable content, named by its SHA-256. Written by enqueuers and by the processes of jobs."""

from __future__ import annotations

import contextlib
import os
import stat
import time

__all__ = ["MAX_INLINE_BYTES", "PARTIAL", "digest", "read_blob", "write_blob"]

MAX_INLINE_BYTES = 64 * 1024
"""A larger argument or value is stored once by its content, in a file beside the database."""
PARTIAL = ".queuectl-partial"
"""End of the name of an artifact that is being written; one that is left is not kept."""


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
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.{time.monotonic_ns()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _is_complete(path: str, size: int) -> bool:
    """Return True if there is a regular file of this size."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def read_blob(path: str) -> bytes:
    """Return the content of a blob; raise OSError if the file is missing, changed, or not a regular file."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            body = file.read()
    except OSError as error:
        error.filename = path  # of a directory, it is the descriptor
        raise
    if digest(body) != os.path.basename(path):
        raise OSError(0, "its content was changed", path)
    return body
