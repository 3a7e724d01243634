"""What a job inherits from where it was enqueued: working directory and the recorded part of the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["current_dir", "interpreter_dir", "recorded_env", "resolve_cwd"]

_GLOB = frozenset("*?[")


def current_dir() -> str:
    """Return the present working directory; refuse one that was removed, or whose name is no text."""
    try:
        found = os.getcwd()
    except FileNotFoundError:
        msg = "the working directory is gone; change to another one"
        raise BadInput(msg) from None
    if not _is_utf8(found):
        msg = f"the working directory's name is not valid UTF-8: {found!a}; change to another one, or name one (cwd)"
        raise BadInput(msg)
    return found


def resolve_cwd(cwd: str) -> str:
    """Return ``cwd`` as an absolute path of a directory that exists."""
    if not cwd:
        msg = "cwd is empty; leave it out for the working directory"
        raise BadInput(msg)
    path = Path(os.path.expanduser(cwd))
    if not path.is_absolute():
        path = Path(current_dir(), path)
    path = Path(os.path.normpath(path))  # links stay as the user wrote them
    if not path.is_dir():
        msg = f"cwd {cwd!a} is no directory"
        raise BadInput(msg)
    return str(path)


def recorded_env(patterns: str, environ: Mapping[str, str], *, first_path: str | None = None) -> dict[str, str]:
    """Return the variables of ``environ`` that the setting ``keep_env`` names.

    ``lead`` is a directory that comes first in ``PATH``: that of a notebook's interpreter, so that ``python`` in a
    job is the kernel's. Values that are no valid Unicode cannot be stored and are left out.
    """
    named = _matcher(patterns)
    kept = {
        key: value
        for key, value in environ.items()
        if named(key) and not key.startswith("QUEUECTL_") and _is_utf8(value) and _is_utf8(key)
    }
    if first_path and named("PATH"):
        rest = [part for part in kept.get("PATH", os.defpath).split(os.pathsep) if part != first_path]
        kept["PATH"] = os.pathsep.join([first_path, *rest])
    return kept


def _matcher(patterns: str) -> Callable[[str], bool]:
    """Return the test for names that a list of names and globs has; plain names cost no regular expression."""
    words = [word for word in patterns.split(",") if word]
    globs = [word for word in words if not _GLOB.isdisjoint(word)]
    plain = frozenset(words)
    if not globs:
        return plain.__contains__
    from fnmatch import fnmatchcase

    return lambda name: name in plain or any(fnmatchcase(name, word) for word in globs)


def interpreter_dir() -> str:
    """Return the directory of the running interpreter, as its user would find it."""
    return os.path.dirname(sys.executable)


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
