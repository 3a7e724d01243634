"""Paths of a queue and its files, and which queue is used by default."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from queuectl_nb.model.errors import BadEnvironment, BadInput

__all__ = [
    "absolute_path",
    "find_queue",
    "is_missing",
    "real_path",
    "require_queue",
    "spool_dir",
    "user_queue",
]

PROJECT_DIR = ".queuectl"
FILE_NAME = "queue.db"
LOCK_NAME = "write.lock"
"""The file in the spool that writers lock."""
SIDECAR_SUFFIXES = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite uses beside a database."""


def user_queue() -> Path:
    """Return the queue in the user's data directory, the default."""
    import platformdirs

    folder = Path("~")
    with contextlib.suppress(RuntimeError):  # older versions of platformdirs return "~" instead
        folder = Path(platformdirs.user_data_dir("queuectl"))
    if not folder.is_absolute() or (_home_is_empty() and folder.is_relative_to("/.local")):
        msg = "this user has no home directory for a default queue; set HOME or QUEUECTL_DB, or name a queue"
        raise BadEnvironment(msg)
    return folder / FILE_NAME


def find_queue(path: str | os.PathLike[str] | None = None, *, start: Path | None = None) -> Path:
    """Return the absolute path of the queue to use.

    In this order: ``path``, ``$QUEUECTL_DB``, the nearest ``.queuectl/`` in ``start`` (default: the working directory)
    or its parents, the user's queue. A ``.queuectl/`` of another user is skipped, because its jobs would run as us.
    """
    if path is not None and not os.fspath(path):
        raise BadInput("the path of the queue is empty; leave it out for the default queue")
    named = path or os.environ.get("QUEUECTL_DB")
    if named:
        return absolute_path(named)
    try:
        here = start or Path.cwd()
    except FileNotFoundError:
        return user_queue()
    for folder in (here, *here.parents):
        if _is_our_dir(folder / PROJECT_DIR):
            return folder / PROJECT_DIR / FILE_NAME
    return user_queue()


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Return a path that a user has given as an absolute one; ``~`` is the home directory."""
    first = os.fspath(path).partition("/")[0]
    expanded = os.fspath(path) if first == "~" and _home_is_empty() else os.path.expanduser(path)
    if expanded.partition("/")[0] == "~":
        msg = f"this user has no home directory, so {expanded} cannot be resolved; set HOME, or give an absolute path"
        raise BadEnvironment(msg)
    try:
        return Path(os.path.abspath(expanded))
    except FileNotFoundError:
        msg = f"the working directory was removed, so {expanded} cannot be resolved; give an absolute path"
        raise BadEnvironment(msg) from None


def _home_is_empty() -> bool:
    """Return True if the home directory would be the root directory because HOME is empty."""
    return os.environ.get("HOME") == ""


def require_queue(path: Path, shown: str) -> None:
    """Raise :class:`BadEnvironment` if there is no file ``path``, which the user knows as ``shown``."""
    if is_missing(path):
        raise BadEnvironment(f"no queue at {shown}; 'queuectl enqueue' creates one, --db names another")


def is_missing(path: Path) -> bool:
    """Return True if there is no file ``path``; False if that is unknown: opening it shows why."""
    try:
        os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def _is_our_dir(path: Path) -> bool:
    with contextlib.suppress(OSError):
        found = path.stat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return False


def spool_dir(path: Path) -> Path:
    """Return the directory beside a queue's file that holds output, locks and FIFOs."""
    return Path(f"{path}-spool")  # "/" has no name, and is refused by check_location


def real_path(path: Path) -> Path:
    """Return the path with links resolved, so that all names of a file lead to the same spool."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise BadEnvironment(f"{str(path)!a} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
