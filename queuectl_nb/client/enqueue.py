"""Check job fields, record the directory and environment of the caller, and insert jobs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.job import Job
from queuectl_nb.client.job_actions import notify_idle_worker
from queuectl_nb.client.wait import UnreportedJobs
from queuectl_nb.model.errors import BadInput, NotFound
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.times import next_time_of_day
from queuectl_nb.model.validation import quoted
from queuectl_nb.store.boot_time import read_boot_time
from queuectl_nb.store.insert import Inserted, insert_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from queuectl_nb.client.queue import Queue

__all__ = [
    "check_shell",
    "current_dir",
    "enqueue_specs",
    "locate_errors",
    "make_spec",
    "make_specs",
    "plain_fields",
    "recorded_env",
    "resolve_cwd",
]

_GLOB_CHARS = frozenset("*?[")


def make_spec(fields: Mapping[str, Any], resolve: Callable[[str], str] | None = None) -> JobSpec:
    """Return the validated spec of one job.

    Fields may be as in :func:`plain_fields`; ``cwd`` must be an existing directory, and ``shell`` a program that exists
    here. ``resolve`` replaces :func:`resolve_cwd`.
    """
    spec = JobSpec.from_fields(plain_fields(fields))
    if spec.shell is not None:
        check_shell(spec.shell, (spec.env or {}).get("PATH"))
    return spec if spec.cwd is None else spec._replace(cwd=(resolve or resolve_cwd)(spec.cwd))


def plain_fields(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return fields in which ``after`` and ``after_any`` may hold :class:`Job` objects and ``run_at`` a time of day."""
    for name in ("after", "after_any"):
        if (others := fields.get(name)) is not None and not isinstance(others, str | dict):
            each_of = [others] if isinstance(others, Job) else others if isinstance(others, Iterable) else None
            if each_of is not None:
                fields = {**fields, name: [each.id if isinstance(each, Job) else each for each in each_of]}
    if "run_at" in fields:
        fields = {**fields, "run_at": next_time_of_day(fields["run_at"], datetime.now())}  # noqa: DTZ005 - local time
    return fields


def make_specs(rows: Iterable[Mapping[str, Any]], *, single: bool) -> list[JobSpec]:
    """Return the validated specs of many jobs; an error names its row, unless there is a ``single`` one."""
    resolve = cache(resolve_cwd)
    specs: list[JobSpec] = []
    try:
        for fields in rows:
            specs.append(make_spec(fields, resolve))  # noqa: PERF401 - the error message needs the count
    except BadInput as error:
        if single:
            raise
        raise BadInput(f"row {len(specs) + 1}: {error}") from None
    return specs


@contextmanager
def locate_errors(label: Callable[[int], str], suffix: str = "") -> Iterator[None]:
    """Prefix an error about one of many jobs with ``label(index)``, and append ``suffix``."""
    try:
        yield
    except (BadInput, NotFound) as error:
        if error.index is None:
            raise
        found = type(error)(f"{label(error.index)}: {error}{suffix}")
        found.console = f"{label(error.index)}: {error.console}{suffix}"
        raise found from None


def enqueue_specs(queue: Queue, specs: Sequence[JobSpec], *, if_absent: bool = False, resume: bool = False) -> Inserted:
    """Add validated specs in one transaction, all or none, and notify an idle worker; return the ids in order.

    With ``resume``, and of specs with a key, only work that is missing is added; see :func:`.insert_missing`.
    """
    UnreportedJobs.for_queue(queue).start(queue.store)
    keyed = resume or any(spec.key is not None for spec in specs)
    if if_absent and keyed:
        raise BadInput("if_absent cannot be combined with key or resume")
    if if_absent and any(spec.id is None for spec in specs):
        raise BadInput("if_absent needs an id")
    if not specs:
        return Inserted([])
    cwd = current_dir() if any(spec.cwd is None for spec in specs) else ""
    if keyed:
        from queuectl_nb.client.keys import add_keys

        specs = add_keys(specs, cwd, resume=resume)
    added = insert_jobs(
        queue.store.db,
        specs,
        cwd=cwd,
        recorded_env=recorded_env(
            queue.store.settings.read().keep_env,
            os.environ,
            first_path=os.path.dirname(sys.executable) if queue.interpreter_first else None,
        ),
        now=time.time(),
        boottime=read_boot_time(),
        if_absent=if_absent,
    )
    notify_idle_worker(queue.store)
    return added


def current_dir() -> str:
    """Return the working directory; raise ``BadInput`` if it was removed or is not valid UTF-8."""
    try:
        found = os.getcwd()
    except FileNotFoundError:
        raise BadInput("the working directory was removed; change to another one") from None
    if not _is_utf8(found):
        raise BadInput(f"the working directory's name is not valid UTF-8: {found!a}; change to another one, or set cwd")
    return found


def resolve_cwd(cwd: str) -> str:
    """Return ``cwd`` as the absolute path of an existing directory."""
    if not cwd:
        raise BadInput("cwd is empty; omit it to use the working directory")
    path = Path(os.path.expanduser(cwd))
    if not path.is_absolute():
        path = Path(current_dir(), path)
    path = Path(os.path.normpath(path))  # keeps symbolic links as the user wrote them
    if not os.path.isdir(path):  # also False for a name that is too long
        raise BadInput(f"cwd {quoted(cwd)} is not a directory")
    return str(path)


@cache  # of those that are there: errors are not kept
def check_shell(shell: str, path: str | None = None) -> None:
    """Raise ``BadInput`` if the program of a valid ``shell`` is not on this machine; ``path`` replaces ``PATH``."""
    import shlex
    import shutil

    program = shlex.split(shell)[0]
    if shutil.which(program, path=path) is None:
        where = "" if "/" in program else " in PATH"
        raise BadInput(f"shell {quoted(program)} is not an executable program{where} on this machine")


def recorded_env(patterns: str, environ: Mapping[str, str], *, first_path: str | None = None) -> dict[str, str]:
    """Return the variables of ``environ`` that match ``patterns``, the setting ``keep_env``.

    ``first_path`` is put first in ``PATH``, so that ``python`` in a job is the interpreter of the notebook. Values
    that are not valid UTF-8 cannot be stored and are left out.
    """
    words = patterns.split(",")
    known = {*environ, "PATH"} if first_path else set(environ)
    names = known.intersection(words)
    if not _GLOB_CHARS.isdisjoint(patterns):
        from fnmatch import filter as matching

        names.update(*(matching(known, word) for word in words))
    found = {name: environ[name] for name in names.intersection(environ) if not name.startswith("QUEUECTL_")}
    kept = {name: value for name, value in found.items() if _is_utf8(name + value)}
    if first_path and "PATH" in names:
        others = [part for part in kept.get("PATH", os.defpath).split(os.pathsep) if part != first_path]
        kept["PATH"] = os.pathsep.join([first_path, *others])
    return kept


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
