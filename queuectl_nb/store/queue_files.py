"""Files of a queue: whether this user can trust them, and how they are made for this user alone."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection
from pathlib import Path

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.os_errors import os_reason
from queuectl_nb.store.paths import FILE_NAME, LOCK_NAME, SIDECAR_SUFFIXES, real_path, spool_dir
from queuectl_nb.store.regular_file import open_regular

__all__ = [
    "check_location",
    "check_neighbours",
    "check_sidecars",
    "make_private_dir",
    "make_private_file",
    "network_fs_type",
    "record_first_name",
]

NETWORK_FS_TYPES = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
        *("ocfs2", "orangefs", "panfs", "prl_fs", "smb3", "smbfs", "vboxsf"),
        *("fuse.davfs2", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    )
)
"""File system types on which flock or shared memory does not work between hosts, or not at all."""
_SQLITE_HEADER_BYTES = 100
_MOUNT = re.compile(r"(?:[^ ]+ ){4}([^ ]+) .*? - ([^ ]+)")  # mount point and type in a line of mountinfo
_OCTAL = re.compile(r"\\([0-7]{3})")


def check_location(path: Path, *, allow_network_fs: bool) -> bool:
    """Return True if ``path`` is on a local disk; raise :class:`BadEnvironment` if no queue can be there."""
    real = real_path(path)
    try:
        found = real.stat()
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise BadEnvironment(f"{path} cannot be opened: {os_reason(error)}") from error
    if found is not None:
        _check_queue_file(path, real, found)
    elif not os.path.isdir(real.parent):
        msg = f"there is no directory {real.parent} for the queue; create it, or choose another file"
        raise BadEnvironment(msg)
    kind = network_fs_type(real)
    if kind is not None and not allow_network_fs:
        raise BadEnvironment(
            f"{path} is on a network file system ({kind}), where locks are unreliable;"
            " choose a local file, or use allow_network_fs=True from one host only"
        ).with_option("allow_network_fs=True", "--allow-network-fs")
    return kind is None


def _check_queue_file(path: Path, real: Path, found: os.stat_result) -> None:
    """Raise :class:`BadEnvironment` if an existing file cannot be used as a queue by this user."""
    if stat.S_ISDIR(found.st_mode):
        raise BadEnvironment(f"{path} is a directory; give the queue's file, such as {path / FILE_NAME}")
    if not stat.S_ISREG(found.st_mode):
        raise BadEnvironment(f"{path} is not a regular file; choose another")
    if 0 < found.st_size < _SQLITE_HEADER_BYTES:  # SQLite would overwrite a file of one byte
        raise BadEnvironment(f"{path} is not a queue (not a SQLite file); choose another file")
    if found.st_uid != os.geteuid():
        msg = f"{path} belongs to user {found.st_uid}, and its jobs would run as you; choose another queue"
        raise BadEnvironment(msg)
    if found.st_nlink > 1:
        _check_first_name(path, real)


def _check_first_name(path: Path, file: Path) -> None:
    """Raise :class:`BadEnvironment` unless a hard-linked queue has its spool under this name.

    The lock file of the spool records the name; it is empty if the queue was renamed without its spool. If it has
    links, too (``cp -al``), no name can be used.
    """
    links, is_first = 1, False
    with contextlib.suppress(OSError):
        lock = open_regular(spool_dir(file) / LOCK_NAME, os.O_RDONLY)
        with open(lock, encoding="ascii", errors="replace") as record:
            links = os.fstat(lock).st_nlink
            is_first = record.read() in ("", _first_name_record(file))
    if not is_first:
        raise BadEnvironment(
            f"{path} is a second name (a hard link) of a queue, and would be a second queue in the same file;"
            " use the first name, or remove all names but one"
        )
    if links > 1:
        raise BadEnvironment(
            f"{path} and its spool have hard links, as 'cp -al' makes them, and would be two queues in the same file;"
            " remove the links; 'queuectl backup' copies a queue"
        )


def record_first_name(file: Path) -> None:
    """Record in the lock file of the spool which queue it belongs to, in case it gets hard links."""
    with contextlib.suppress(OSError), open_regular(spool_dir(file) / LOCK_NAME, os.O_WRONLY | os.O_TRUNC) as lock:
        os.write(lock, _first_name_record(file).encode("ascii"))


def _first_name_record(file: Path) -> str:
    return f"{os.stat(file).st_ino} {os.stat(spool_dir(file)).st_ino}"


def make_private_dir(path: Path, *, parents: bool = False) -> None:
    """Create ``path`` as a private directory (0700); refuse a link or another user's directory.

    With ``parents`` missing parents are created, private too: if others could write to one, they could replace
    ``path``.
    """
    try:
        for folder in reversed(path.parents) if parents else ():
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = _check_private_dir(path)
        if stat.S_IMODE(found.st_mode) != stat.S_IRWXU:
            path.chmod(0o700)
    except OSError as error:
        raise BadEnvironment(f"cannot create {path}: {os_reason(error)}") from error


def _check_private_dir(path: Path) -> os.stat_result:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise BadEnvironment(f"{path} is not a directory; move it away, queuectl creates its own")
    if found.st_uid != os.geteuid():
        raise BadEnvironment(f"{path} belongs to user {found.st_uid}; choose another queue")
    return found


def check_neighbours(file: Path) -> None:
    """Raise :class:`BadEnvironment` if somebody else has put files or a spool directory beside a queue's ``file``."""
    with contextlib.suppress(FileNotFoundError):
        _check_private_dir(spool_dir(file))
    check_sidecars(file)


def check_sidecars(file: str | Path, *, required: Collection[str] = ()) -> None:
    """Raise :class:`BadEnvironment` if SQLite would use files of somebody else as its own, beside ``file``.

    Those with a suffix in ``required`` must exist.
    """
    for suffix in SIDECAR_SUFFIXES:
        name = f"{file}{suffix}"
        try:
            found = os.lstat(name)
        except FileNotFoundError:
            if suffix in required:
                raise BadEnvironment(f"{name} was deleted while SQLite opened it; try again") from None
            continue
        if not stat.S_ISREG(found.st_mode):
            fault = "is not a regular file"
        elif found.st_uid != os.geteuid():
            fault = f"belongs to user {found.st_uid}"
        elif found.st_nlink > 1:
            fault = "has another name (a hard link)"
        else:
            continue
        msg = f"{name} {fault}, so SQLite must not use it; choose a queue in a directory that only you can write to"
        raise BadEnvironment(msg)


def make_private_file(path: Path) -> None:
    """Create an empty file with mode 0600 whatever the umask.

    An existing empty file gets the same mode, because it becomes a queue.
    """
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        with contextlib.suppress(OSError):
            found = path.stat()
            if not found.st_size and found.st_mode & 0o077:
                path.chmod(0o600)
        return
    except OSError as error:
        raise BadEnvironment(f"cannot create the queue {path}: {os_reason(error)}") from error
    os.fchmod(handle, 0o600)
    os.close(handle)


def network_fs_type(path: Path, mounts: str = "/proc/self/mountinfo") -> str | None:
    """Return the type of the network file system that holds ``path``, or None for a local one.

    Reads ``mounts`` in the format of mountinfo in proc(5); None if it does not exist (macOS).
    """
    try:
        lines = Path(mounts).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    target = os.path.realpath(path)
    best, kind = -1, ""
    for found in filter(None, map(_MOUNT.match, lines)):
        point = _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), found[1])
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), found[2]
    return kind if kind in NETWORK_FS_TYPES else None
