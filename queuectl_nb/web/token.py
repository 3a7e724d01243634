"""The token of our own server: random, kept beside the queue for its owner only, so that a restart keeps it."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["kept_token"]

NAME = "web.token"
_LOOKS = re.compile(r"[A-Za-z0-9_-]{43}\Z")  # 32 random bytes


def kept_token(folder: Path) -> str:
    """Return the token that ``folder`` (private, ours) holds; a new one where it holds none that is safe.

    A file that others can read or that is not ours, a link or a folder in its place is thrown away, not followed.
    """
    path = folder / NAME
    found = _read(path)
    if found is not None:
        return found
    token = secrets.token_urlsafe(32)
    new = folder / f"{NAME}.{secrets.token_hex(8)}"
    handle = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, token.encode())
    finally:
        os.close(handle)
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
    new.replace(path)
    return _read(path) or token  # whoever came last decides for all


def _read(path: Path) -> str | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(handle)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        text = os.read(handle, 100).decode("ascii", "replace") if ours else ""
    finally:
        os.close(handle)
    return text if _LOOKS.match(text) else None
