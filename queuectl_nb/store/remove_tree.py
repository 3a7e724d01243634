"""Removal of folders in which jobs may have put anything."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from queuectl_nb.store.regular_file import Descriptor

__all__ = ["OPEN_DIR", "remove_tree"]

OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
"""Flags that open a folder, but no link to one."""


def remove_tree(path: str) -> None:
    """Remove a file or folder with all of its content, however deep, without following links.

    Subfolders are moved to the top before they are emptied, so that their depth does not matter.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError:
        with contextlib.suppress(OSError):
            _make_writable(path)
            with Descriptor(os.open(path, OPEN_DIR)) as handle:
                _empty(handle)
            os.rmdir(path)


def _empty(top: int) -> None:
    """Remove the content of a folder."""
    number = 0
    progress = True
    while progress:
        progress = False
        for name in os.listdir(top):
            try:
                os.unlink(name, dir_fd=top)
                progress = True
                continue
            except OSError as error:
                if error.errno not in (errno.EISDIR, errno.EPERM):
                    continue
            with contextlib.suppress(OSError):
                _make_writable(name, top)
                with Descriptor(os.open(name, OPEN_DIR, dir_fd=top)) as folder:
                    for each in os.listdir(folder):
                        try:
                            os.unlink(each, dir_fd=folder)
                        except OSError:
                            _make_writable(each, folder)  # otherwise it cannot be moved
                            number += 1
                            os.rename(each, f".removed-{os.getpid()}-{number}", src_dir_fd=folder, dst_dir_fd=top)
                os.rmdir(name, dir_fd=top)
                progress = True


def _make_writable(path: str, folder: int | None = None) -> None:
    """Give the owner all rights on a folder; nothing else is changed."""
    if stat.S_ISDIR(os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode):
        os.chmod(path, 0o700, dir_fd=folder)
