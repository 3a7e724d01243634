"""Where a queue's files lie, with which modes, and on which file systems they may."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from queuectl_nb.model.errors import BadEnvironment

__all__ = ["find_queue", "home_queue", "make_private_dir", "make_private_file", "network_type", "spool_dir"]

PROJECT_DIR = ".queuectl"
FILE_NAME = "queue.db"
NETWORK_TYPES = frozenset(
    "9p afs beegfs ceph cifs davfs fuse.davfs2 fuse.glusterfs fuse.rclone fuse.s3fs fuse.sshfs glusterfs gpfs lustre"
    " ncpfs nfs nfs4 ocfs2 orangefs panfs prl_fs smb3 smbfs vboxsf".split()
)
"""Types on which flock or shared memory is not the same for two hosts, or not there at all."""


def home_queue() -> Path:
    """Return the queue of the user's data directory, used where nothing nearer is named."""
    import platformdirs  # noqa: PLC0415 - 30 ms that only this last resort needs

    return Path(platformdirs.user_data_dir("queuectl")) / FILE_NAME


def find_queue(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute path of the queue: given, ``$QUEUECTL_DB``, nearest ``.queuectl/`` upwards, the user's."""
    named = given or os.environ.get("QUEUECTL_DB")
    if named:
        path = Path(named).expanduser()
        return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a link that is meant to stay
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return home_queue()
    for folder in (here, *here.parents):
        path = folder / PROJECT_DIR / FILE_NAME
        if path.parent.is_dir():
            return path
    return home_queue()


def spool_dir(path: Path) -> Path:
    """Return the directory beside a queue's file that holds output, locks and bells."""
    return path.with_name(path.name + "-spool")


def make_private_dir(path: Path) -> None:
    """Make ``path`` a directory of ours that nobody else can enter (0700); refuse a link or another's."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            msg = f"{path} is not a directory; move it away, queuectl makes its own"
            raise BadEnvironment(msg)
        if found.st_uid != os.geteuid():
            msg = f"{path} belongs to user {found.st_uid}; name another queue with --db"
            raise BadEnvironment(msg)
        if stat.S_IMODE(found.st_mode) != stat.S_IRWXU:
            path.chmod(0o700)
    except OSError as error:
        msg = f"cannot make {path}: {error.strerror}"
        raise BadEnvironment(msg) from error


def make_private_file(path: Path) -> bool:
    """Make an empty file with mode 0600 whatever the umask; tell whether it was not there before."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        msg = f"cannot make the queue {path}: {error.strerror}"
        raise BadEnvironment(msg) from error
    os.fchmod(handle, 0o600)
    os.close(handle)
    return True


def network_type(path: Path, mounts: str = "/proc/self/mountinfo") -> str | None:
    """Return the type of the network file system that holds ``path``, or None for a local one.

    Reads ``mounts`` in the format of proc(5) mountinfo; None too where that file does not exist (macOS).
    """
    try:
        lines = Path(mounts).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    target = os.path.realpath(path)
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].encode("latin-1", "ignore").decode("unicode_escape")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), right.split(" ")[0]
    return kind if kind in NETWORK_TYPES else None
