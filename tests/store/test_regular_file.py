"""Opening files that a job may have replaced."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.store import regular_file
from queuectl_nb.store.regular_file import (
    REPLACED_ERRNOS,
    FolderWatch,
    last_write,
    open_locked,
    open_regular,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with two bytes."""
    path = tmp_path / "file"
    path.write_bytes(b"ab")
    return path


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_not_a_regular_file(tmp_path: Path, file: Path, kind: str) -> None:
    """A link, a FIFO or a directory is refused at once, whatever it is opened for."""
    path = tmp_path / "other"
    if kind == "link":
        path.symlink_to(file)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        with pytest.raises(OSError, match=r"other|not a regular file") as caught:
            open_regular(path, flags)
        assert caught.value.errno in REPLACED_ERRNOS
        assert caught.value.filename == str(path)
    assert file.read_bytes() == b"ab"


@pytest.mark.parametrize("flags", [os.O_WRONLY | os.O_TRUNC, os.O_RDWR])
def test_hard_links(tmp_path: Path, file: Path, flags: int) -> None:
    """A file with another name is not opened for writing, nor truncated; it may be read."""
    (tmp_path / "other").hardlink_to(file)
    with pytest.raises(OSError, match="the file has another hard link") as caught:
        open_regular(file, flags)
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, str(file))
    assert file.read_bytes() == b"ab"
    os.close(open_regular(file, os.O_RDONLY))


def test_modes(tmp_path: Path, file: Path) -> None:
    """A new file is private, and a file is truncated only on request."""
    os.close(open_regular(tmp_path / "new", os.O_WRONLY | os.O_CREAT))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    os.close(open_regular(file, os.O_WRONLY))
    assert file.read_bytes() == b"ab"
    handle = open_regular(file, os.O_WRONLY | os.O_TRUNC)
    assert file.read_bytes() == b""
    assert not os.get_inheritable(handle)
    os.close(handle)


def test_locks(file: Path) -> None:
    """One descriptor at a time is locked; a failure leaves none open."""
    before = os.listdir("/proc/self/fd")
    handle = open_locked(file, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        open_locked(file, os.O_RDONLY)
    os.close(handle)
    os.close(open_locked(file, os.O_WRONLY))
    assert os.listdir("/proc/self/fd") == before


def test_last_write(file: Path) -> None:
    """A regular file has a time and a size; anything else has neither."""
    file.write_bytes(b"abc")
    os.utime(file, ns=(5, 7))
    assert last_write(str(file)) == (7, 3)
    file.unlink()
    assert last_write(str(file)) == (0, 0)
    file.mkdir()
    assert last_write(str(file)) == (0, 0)


def test_watched_folder(tmp_path: Path, pass_a_tick: Callable[[Path], None]) -> None:
    """A folder is unchanged since a time after the first look, until it or an entry of it is replaced."""
    folder = tmp_path / "folder"
    folder.mkdir()
    watch = FolderWatch(folder)
    began = time.monotonic()
    later = began + 3600
    assert not watch.unchanged_since(later)
    assert watch.unchanged_since(later)
    assert not watch.unchanged_since(began)
    pass_a_tick(folder)
    (folder / "new").touch()
    os.utime(folder, (0, 0))
    assert not watch.unchanged_since(later)
    assert watch.unchanged_since(later)
    folder.rename(tmp_path / "moved")
    assert not watch.unchanged_since(later)
    folder.mkdir()
    assert not watch.unchanged_since(later)
    assert watch.unchanged_since(later)


def test_watched_folder_with_coarse_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of a folder whose times may be rounded."""
    monkeypatch.setattr(regular_file, "COARSE_CTIME_NS", 1)
    watch = FolderWatch(tmp_path)
    assert not any(watch.unchanged_since(time.monotonic() + 3600) for _ in range(3))
