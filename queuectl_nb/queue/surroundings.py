"""What a job inherits from where it was enqueued: working directory and the recorded part of the environment."""

from __future__ import annotations

import fnmatch
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["kept_env", "resolve_cwd", "this_cwd"]


def this_cwd() -> str:
    """Return the present working directory; refuse one that was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - text is stored
    except FileNotFoundError:
        msg = "the working directory is gone; change to another, or give --cwd"
        raise BadInput(msg) from None


def resolve_cwd(cwd: str) -> str:
    """Return ``cwd`` as an absolute path of a directory that exists."""
    path = Path(os.path.abspath(os.path.expanduser(cwd)))  # noqa: PTH100, PTH111 - links stay as the user wrote them
    if not path.is_dir():
        msg = f"cwd {cwd!a} is no directory"
        raise BadInput(msg)
    return str(path)


def kept_env(patterns: str, environ: Mapping[str, str], *, lead: str | None = None) -> dict[str, str]:
    """Return the variables of ``environ`` that the setting ``keep_env`` names.

    ``lead`` is a directory that comes first in ``PATH``: that of a notebook's interpreter, so that ``python`` in a
    job is the kernel's. Values that are no valid Unicode cannot be stored and are left out.
    """
    names = [word for word in patterns.split(",") if word]
    kept = {
        key: value
        for key, value in environ.items()
        if any(fnmatch.fnmatchcase(key, word) for word in names)
        and not key.startswith("QUEUECTL_")
        and _storable(value)
        and _storable(key)
    }
    if lead and any(fnmatch.fnmatchcase("PATH", word) for word in names):
        rest = [part for part in kept.get("PATH", os.defpath).split(os.pathsep) if part != lead]
        kept["PATH"] = os.pathsep.join([lead, *rest])
    return kept


def interpreter_dir() -> str:
    """Return the directory of the running interpreter, as its user would find it."""
    return os.path.dirname(sys.executable)  # noqa: PTH120 - not resolved: a venv's python is a link


def _storable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
