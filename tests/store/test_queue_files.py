"""Modes and owners of the files of a queue, and which are refused."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store import queue_files
from queuectl_nb.store.queue_files import make_private_dir, make_private_file, network_fs_type
from queuectl_nb.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = 12_345


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# ---------------------------------------------------------------------- modes and owners


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes(tmp_path: Path, template_path: Path, umask: Any, mask: int) -> None:
    """With any umask files are 0600 and folders 0700, the sidecar files of SQLite included."""
    path = tmp_path / "q.db"
    with umask(mask):
        store = Store(path)
        with store.db.write():
            pass
    found = {each: _mode(each) for each in [path, *tmp_path.rglob("q.db-*"), *(tmp_path / "q.db-spool").rglob("*")]}
    assert found.keys() >= {Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-spool"), store.worker_dir}
    for each, mode in found.items():
        assert mode == (0o700 if each.is_dir() else 0o600), each
    assert template_path.exists()


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_modes_of_parent_folders(tmp_path: Path, umask: Any, mask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With any umask no other user can write to the folders created for the user's queue."""
    monkeypatch.delenv("QUEUECTL_DB", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "local" / "share"))
    monkeypatch.chdir(tmp_path)
    with umask(mask):
        made = Queue().path
    if tmp_path not in made.parents:
        pytest.skip("the data directory does not follow XDG_DATA_HOME here")
    for folder in made.parents[: made.parents.index(tmp_path)]:
        assert _mode(folder) == 0o700, folder


def test_spool_mode_is_corrected(tmp_path: Path) -> None:
    """A spool folder with too wide a mode gets 0700 at the next opening."""
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o755)
    folder.chmod(0o777)
    make_private_dir(folder)
    assert _mode(folder) == 0o700


@pytest.mark.parametrize("plant", ["link to a folder", "dangling link", "file"])
def test_spool_that_is_not_a_folder(queue_path: Path, tmp_path: Path, plant: str) -> None:
    """A link or a file in place of the spool is exit code 3, and the target of the link is unchanged."""
    target = tmp_path / "target"
    spool = Path(f"{queue_path}-spool")
    if plant == "link to a folder":
        target.mkdir(mode=0o755)
    if plant == "file":
        spool.write_text("x")
    else:
        spool.symlink_to(target)
    with pytest.raises(BadEnvironment, match=r"queue\.db-spool") as caught:
        Store(queue_path)
    assert caught.value.exit_code == 3
    if plant == "link to a folder":
        assert list(target.iterdir()) == []
        assert _mode(target) == 0o755
    else:
        assert not target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user needs root")
@pytest.mark.parametrize("what", ["queue.db", "queue.db-spool"])
def test_other_users_queue(queue_path: Path, what: str) -> None:
    """A queue whose file or spool belongs to another user is refused: its jobs would run with our rights."""
    Path(f"{queue_path}-spool").mkdir()
    os.chown(queue_path.with_name(what), OTHER, OTHER)
    with pytest.raises(BadEnvironment, match=f"{what} belongs to user {OTHER}"):
        Store(queue_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user needs root")
def test_spool_that_another_user_puts_in_place_of_ours(queue_path: Path) -> None:
    """The spool is checked again before each connection, not only when the queue is opened."""
    store = Store(queue_path)
    store.db.close()
    store.db.spool.rename(queue_path.with_name("gone"))
    store.db.spool.mkdir()
    os.chown(store.db.spool, OTHER, OTHER)
    with pytest.raises(BadEnvironment, match=f"belongs to user {OTHER}"):
        store.reader.counts()


SIDECARS = ("queue.db-wal", "queue.db-shm", "queue.db-journal")


@pytest.mark.parametrize("name", SIDECARS)
@pytest.mark.parametrize("plant", ["link", "dangling link", "hard link", "fifo", "folder"])
def test_planted_sidecar_file(queue_path: Path, tmp_path: Path, name: str, plant: str) -> None:
    """A file beside the queue that SQLite would use is refused unless it is a plain file; its target is unchanged."""
    target, sidecar = tmp_path / "target", queue_path.with_name(name)
    if plant != "dangling link":
        target.write_text("mine")
    if plant.endswith("link") and plant != "hard link":
        sidecar.symlink_to(target)
    elif plant == "hard link":
        sidecar.hardlink_to(target)
    elif plant == "fifo":
        os.mkfifo(sidecar)
    else:
        sidecar.mkdir()
    before = queue_path.read_bytes()
    with pytest.raises(BadEnvironment, match=rf"{name} (is not a regular file|has another name)") as caught:
        Store(queue_path)
    assert caught.value.exit_code == 3
    assert queue_path.read_bytes() == before
    assert target.read_text() == "mine" if plant != "dangling link" else not target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user needs root")
@pytest.mark.parametrize("name", SIDECARS)
def test_other_users_sidecar_file(queue_path: Path, name: str) -> None:
    """Another user could read and change what we write through the file, in a folder such as /tmp."""
    sidecar = queue_path.with_name(name)
    sidecar.touch(mode=0o666)
    os.chown(sidecar, OTHER, OTHER)
    with pytest.raises(BadEnvironment, match=f"{name} belongs to user {OTHER}"):
        Store(queue_path)
    assert sidecar.read_bytes() == b""


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="needs open-file-description locks")
def test_sidecar_file_planted_after_the_check(
    queue_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write-ahead log that another user creates at the last moment never gets into the database."""
    Store(queue_path).db.close()
    attacker = tmp_path / "attacker.db"
    shutil.copyfile(queue_path, attacker)
    with closing(sqlite3.connect(attacker)) as connection:
        connection.execute("INSERT INTO settings VALUES ('planted', '1')")
        connection.commit()
        shutil.copyfile(f"{attacker}-wal", f"{queue_path}-wal")
    before = queue_path.read_bytes()

    def refuse(*_: object, **__: object) -> None:  # SQLite gives the file to root, so its owner would not show here
        msg = "queue.db-wal belongs to another user"
        raise BadEnvironment(msg)

    monkeypatch.setattr("queuectl_nb.store.shared_locks.check_sidecars", refuse)
    with pytest.raises(BadEnvironment, match="belongs to another user"):
        Store(queue_path)
    gc.collect()
    assert queue_path.read_bytes() == before


# ---------------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), r"is a directory; give the queue's file, such as .*/queue\.db"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/null"), "is not a regular file"),
        (lambda path: path.symlink_to(path), "cannot be opened: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("/nowhere/at/all"), "there is no directory /nowhere/at for the queue"),
    ],
    ids=["folder", "fifo", "device", "loop", "dangling"],
)
def test_path_that_is_not_a_file(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    """A folder, FIFO, device or broken link is exit code 3 in one line, and nothing is created."""
    path = tmp_path / "q.db"
    make(path)
    with pytest.raises(BadEnvironment, match=why) as caught:
        Store(path)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["q.db"]


def test_root_is_not_a_queue() -> None:
    """The root directory, which has no name, is a directory like any other."""
    with pytest.raises(BadEnvironment, match=r"/ is a directory; give the queue's file, such as /queue\.db"):
        Store(Path("/"))


@pytest.mark.parametrize("name", ["gone/q.db", "file/q.db", "x" * 300, "a\0b"], ids=["gone", "file", "long", "nul"])
def test_parent_that_is_not_a_folder(tmp_path: Path, name: str) -> None:
    """A missing folder, a file in its place, a long name or a NUL is exit code 3; nothing is created."""
    (tmp_path / "file").touch()
    with pytest.raises(BadEnvironment) as caught:
        Store(tmp_path / name)
    assert str(caught.value).isprintable()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_links_share_the_spool(queue_path: Path, tmp_path: Path) -> None:
    """A link to the file or to its folder leads to the same spool and its locks."""
    (tmp_path / "link.db").symlink_to(queue_path)
    (tmp_path / "elsewhere").symlink_to(queue_path.parent)
    spools = {Store(path).db.spool for path in (queue_path, tmp_path / "link.db", tmp_path / "elsewhere" / "queue.db")}
    assert spools == {Path(f"{queue_path}-spool")}


def test_link_to_a_missing_file(tmp_path: Path, template_path: Path) -> None:
    """The missing target of a link becomes the queue, with mode 0600."""
    path, target = tmp_path / "link.db", tmp_path / "target.db"
    path.symlink_to(target)
    Store(path)
    assert _mode(target) == 0o600
    assert target.stat().st_size >= template_path.stat().st_size or Path(f"{target}-wal").exists()


def test_a_file_that_cannot_be_created(tmp_path: Path) -> None:
    """The error names the file and the reason, as the folder may have gone since it was looked at."""
    path = tmp_path / "gone" / "q.db"
    with pytest.raises(BadEnvironment) as caught:
        make_private_file(path)
    assert str(caught.value) == f"cannot create the queue {path}: No such file or directory"


# ---------------------------------------------------------------------- network file systems

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /home rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2
24 23 0:22 / /home/local rw,relatime - ext4 /dev/vdb rw
25 22 0:23 / /with\\040space rw - cifs //server/share rw
26 22 0:24 / /caf\u00e9\u4e2d rw master:3 - fuse.sshfs host: rw
27 22 0:25 / /twice rw - nfs server:/a rw
28 22 0:26 / /twice rw - tmpfs tmpfs rw

broken line
29 22 0:27 / /lap rw - 9p host rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/q.db", None),
        ("/home/me/q.db", "nfs4"),
        ("/home", "nfs4"),
        ("/home/local/q.db", None),
        ("/homework/q.db", None),
        ("/with space/q.db", "cifs"),
        ("/caf\u00e9\u4e2d/q.db", "fuse.sshfs"),
        ("/twice/q.db", None),
        ("/lap/top/q.db", "9p"),
    ],
)
def test_file_system_of_a_path(tmp_path: Path, path: str, kind: str | None) -> None:
    """The innermost and newest mount of the path decides, whatever characters its name has."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, "utf-8")
    assert network_fs_type(Path(path), str(mounts)) == kind
    assert network_fs_type(Path(path), str(tmp_path / "not there")) is None


def test_network_file_systems(tmp_path: Path) -> None:
    """These types are known; all others count as local."""
    remote = (
        "9p afs beegfs ceph cifs davfs glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs panfs prl_fs smb3 smbfs"
        " vboxsf fuse.davfs2 fuse.glusterfs fuse.rclone fuse.s3fs fuse.sshfs"
    )
    mounts = tmp_path / "mountinfo"
    for kind in [*remote.split(), "ext4", "btrfs", "xfs", "zfs", "tmpfs", "overlay", "fuse.ntfs", "apfs"]:
        mounts.write_text(f"36 35 98:0 / / rw - {kind} x rw\n")
        assert network_fs_type(tmp_path, str(mounts)) == (kind if kind in remote.split() else None)


def test_a_sidecar_file_that_vanishes(tmp_path: Path) -> None:
    """A file that SQLite has just opened has to be there; others may be missing."""
    queue_files.check_sidecars(tmp_path / "q.db")
    (tmp_path / "q.db-wal").touch()
    with pytest.raises(BadEnvironment, match=r"q\.db-shm was deleted while SQLite opened it; try again"):
        queue_files.check_sidecars(tmp_path / "q.db", required=["-wal", "-shm"])


def test_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is exit code 3 with type and remedy; with the option, a journal without shared memory is used."""
    monkeypatch.setattr(queue_files, "network_fs_type", lambda _: "nfs4")
    path = tmp_path / "q.db"
    with pytest.raises(BadEnvironment, match=r"network file system \(nfs4\).*allow_network_fs=True from") as caught:
        Store(path)
    assert caught.value.exit_code == 3
    assert "or use --allow-network-fs from" in caught.value.console
    assert list(tmp_path.iterdir()) == []
    store = Store(path, allow_network_fs=True)
    assert store.db.connection().execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with store.db.write():
        pass
    store.db.close()
    monkeypatch.setattr(queue_files, "network_fs_type", lambda _: None)
    assert Store(path).db.connection().execute("PRAGMA journal_mode").fetchone() == ("wal",)
