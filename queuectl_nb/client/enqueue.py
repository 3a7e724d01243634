"""From what a user wishes to jobs in the file: wishes are checked, surroundings recorded, workers rung."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.job import Job
from queuectl_nb.client.job_actions import notify_idle_worker
from queuectl_nb.model.errors import BadInput, NotFound
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import insert_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from queuectl_nb.store.store import Store

__all__ = [
    "current_dir",
    "insert_specs",
    "interpreter_dir",
    "make_spec",
    "make_specs",
    "name_the_row",
    "recorded_env",
    "resolve_cwd",
]

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


def make_spec(fields: Mapping[str, Any], resolve: Callable[[str], str] = resolve_cwd) -> JobSpec:
    """Check one wish with the fields of a job: ``after`` may hold jobs, ``cwd`` must be a directory."""
    after = fields.get("after")
    if isinstance(after, Job):
        fields = {**fields, "after": [after.id]}
    elif isinstance(after, Iterable) and not isinstance(after, str):
        fields = {**fields, "after": [one.id if isinstance(one, Job) else one for one in after]}
    spec = JobSpec.from_fields(fields)
    return spec if spec.cwd is None else spec._replace(cwd=resolve(spec.cwd))


def make_specs(rows: Iterable[Mapping[str, Any]], *, single: bool) -> list[JobSpec]:
    """Check many wishes; what is wrong names its row, unless it is a ``single`` one."""
    resolve = cache(resolve_cwd)
    specs: list[JobSpec] = []
    try:
        for wish in rows:
            specs.append(make_spec(wish, resolve))  # noqa: PERF401 - how far it came is told
    except BadInput as refused:
        if single:
            raise
        msg = f"row {len(specs) + 1}: {refused}"
        raise BadInput(msg) from None
    return specs


@contextmanager
def name_the_row(name: Callable[[int], str], end: str = "") -> Iterator[None]:
    """Let an error about one of many jobs begin with what ``name`` calls its place, and close with ``end``."""
    try:
        yield
    except (BadInput, NotFound) as refused:
        if refused.index is None:
            raise
        msg = f"{name(refused.index)}: {refused}{end}"
        raise type(refused)(msg) from None


def insert_specs(store: Store, specs: Sequence[JobSpec], *, if_absent: bool, interpreter_first: bool) -> list[str]:
    """Write checked specs in one transaction, all or none, and wake a worker; return their ids."""
    if if_absent and any(spec.id is None for spec in specs):
        msg = "--if-absent needs an id to look for; give --id"
        raise BadInput(msg)
    if not specs:
        return []
    anywhere = any(spec.cwd is None for spec in specs)
    first_path = interpreter_dir() if interpreter_first else None
    ids = insert_jobs(
        store.db,
        specs,
        cwd=current_dir() if anywhere else "",
        recorded_env=recorded_env(store.settings.read().keep_env, os.environ, first_path=first_path),
        now=time.time(),
        if_absent=if_absent,
    )
    notify_idle_worker(store)
    return ids
