"""Checks of a queue and its environment, each with a suggested fix."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.client.hints import db_option, describe_growth
from queuectl_nb.engine import heartbeat
from queuectl_nb.model.errors import BadEnvironment, InvalidSetting, QueuectlError
from queuectl_nb.render.progress import format_size
from queuectl_nb.store.checks import MIN_SQLITE_VERSION, SQLITE_VERSION, Checks
from queuectl_nb.store.maintenance import KEPT_BYTES, read_space
from queuectl_nb.store.paths import LOCK_NAME, SIDECAR_SUFFIXES, spool_dir, user_queue
from queuectl_nb.store.queue_files import network_fs_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.store.store import Store

__all__ = ["run_checks"]

MIN_FREE_BYTES = 64 * 1024 * 1024
"""Less free space than this is a problem."""


Result = tuple[str, str]
"""What a check found, and the remedy; an empty remedy means that there is no problem."""


def run_checks(
    path: Path, opener: Callable[[], Queue], *, allow_network_fs: bool = False
) -> Iterator[tuple[str, Result]]:
    """Yield the name and the result of each check of the queue at ``path``.

    ``opener`` opens it and is called only if the file exists. A network file system is a problem unless allowed.
    Checks that depend on a failed one are skipped.
    """
    yield "interpreter", _interpreter()
    yield "SQLite", _sqlite()
    yield "file", _file(path)
    if not path.exists():
        return
    yield "file system", _file_system(path, allowed=allow_network_fs)
    yield "disk space", _disk_space(path)
    yield "modes", _modes(path)
    try:
        store = opener().store
        checks = Checks(store.db)
        damage = checks.integrity_errors()
    except QueuectlError as error:
        finding, _, remedy = str(error).partition("; ")
        yield "opens", (finding, remedy or "name another queue with --db")
        return
    if damage:
        remedy = "stop the workers, then recover the readable data: sqlite3 FILE .recover | sqlite3 NEW"
        yield "integrity", ("; ".join(damage[:3]), remedy)
        return
    yield "integrity", ("integrity_check: ok", "")
    yield "schema", _schema(checks)
    yield "counts", _counts(checks)
    yield "times", _times(checks)
    yield "settings", _settings(store)
    yield "workers", _workers(store)
    yield "spool", _spool(store, checks)
    yield "blobs", _blobs(store)
    yield "artifacts", _artifacts(store)
    yield "space in the file", _free_pages(store)
    yield "growth", describe_growth(store)


def _blobs(store: Store) -> Result:
    """Check the files of large arguments and values."""
    from queuectl_nb.store.blobs import find_missing, find_strays

    missing, strays = find_missing(store.db), find_strays(store.db, time.time())
    if missing:
        text = f"{len(missing)} files of arguments or values are missing, such as {missing[0][:12]}"
        return text, "restore the spool from a backup; jobs that need them fail, and their values cannot be read"
    if strays:
        return (
            f"{len(strays)} files of arguments or values belong to no job",
            f"run 'queuectl prune --vacuum{db_option(store)}'",
        )
    return "all files of arguments and values exist", ""


def _artifacts(store: Store) -> Result:
    """Check for folders of artifacts without a job."""
    from queuectl_nb.store.artifacts import count_artifacts, find_stray_folders

    strays = find_stray_folders(store.db, time.time())
    if strays:
        text = f"{len(strays)} folders of artifacts belong" if len(strays) > 1 else "1 folder of artifacts belongs"
        return f"{text} to no job, such as {strays[0]}", f"run 'queuectl prune --vacuum{db_option(store)}'"
    attempts, files, size = count_artifacts(store.db)
    return f"{files} files of {attempts} attempts, {format_size(size)}", ""


def _interpreter() -> Result:
    version = ".".join(map(str, sys.version_info[:3]))
    text = f"Python {version} at {sys.executable or 'an unknown path'}"
    if not sys.executable or not os.access(sys.executable, os.X_OK):
        return text, "use an interpreter that is still installed; workers are started with it"
    return text, ""


def _sqlite() -> Result:
    oldest = ".".join(map(str, MIN_SQLITE_VERSION))
    remedy = f"use a Python built with SQLite {oldest} or newer" if SQLITE_VERSION < MIN_SQLITE_VERSION else ""
    return f"SQLite {'.'.join(map(str, SQLITE_VERSION))}", remedy


def _file(path: Path) -> Result:
    """Check that the file exists, or can be created, and that SQLite can create files beside it."""
    exists = path.exists()
    folder = Path(os.path.realpath(path)).parent
    if not exists and not folder.exists() and _is_default(path):
        while not folder.exists():
            folder = folder.parent  # the first enqueue creates the missing ones
    if not folder.is_dir():
        return f"there is no directory {folder} for the queue", "create it, or choose another file with --db"
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        remedy = "make it writable, or choose a queue in another directory with --db or QUEUECTL_DB"
        return f"the directory {folder} is not writable", remedy
    return (str(path) if exists else f"{path} does not exist yet; the first enqueue creates it"), ""


def _is_default(path: Path) -> bool:
    try:
        return path == user_queue()
    except BadEnvironment:
        return False


def _file_system(path: Path, *, allowed: bool) -> Result:
    kind = network_fs_type(path)
    if kind is None or allowed:
        return "local" if kind is None else f"network ({kind}), allowed", ""
    remedy = "move the queue to a local disk; or use it from one host only, with --allow-network-fs"
    return f"network ({kind}): locks are not reliable", remedy


def _disk_space(path: Path) -> Result:
    free = shutil.disk_usage(path.parent).free
    remedy = "free some disk space; without it results cannot be recorded" if free < MIN_FREE_BYTES else ""
    return f"{format_size(free)} free", remedy


def _modes(path: Path) -> Result:
    """Check that other users cannot read commands and output, and that their owner can write them."""
    real = Path(os.path.realpath(path))
    spool = spool_dir(real)
    folders = [spool, spool / "output", spool / "worker"]
    files = [real, *(real.with_name(real.name + suffix) for suffix in SIDECAR_SUFFIXES), spool / LOCK_NAME]
    for each in (*files, *folders):
        try:
            found = each.lstat()
        except FileNotFoundError:
            continue
        if not (stat.S_ISDIR if each in folders else stat.S_ISREG)(found.st_mode):
            if each == real:
                break  # not a queue: opening it says so
            return f"{each} is not a {'directory' if each in folders else 'regular file'}", "move it away"
        right = 0o700 if each in folders else 0o600
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid != os.geteuid():
            return f"{each} belongs to user {found.st_uid}", "chown it, or use another queue"
        if mode != right:
            return f"{each} has mode {mode:04o}", f"chmod {right:o} {each}"
    return "private", ""


def _schema(checks: Checks) -> Result:
    version, known = checks.schema_versions()
    missing = checks.missing_objects()
    text = f"version {version} of {known}, journal {checks.journal_mode()}"
    if missing:
        remedy = "the schema was changed by hand; restore a backup, or move the jobs to a new queue"
        return f"{text}; missing: {', '.join(missing)}", remedy
    return text, ""


def _counts(checks: Checks) -> Result:
    wrong = checks.tally_mismatches()
    if wrong:
        remedy = "jobs were changed without the triggers; move the jobs to a new queue"
        return f"differ from the jobs: {', '.join(wrong[:5])}", remedy
    return "correct", ""


def _times(checks: Checks) -> Result:
    """Check for invalid times, for example after an edit by hand; listing such a job fails."""
    wrong = checks.invalid_times()
    if wrong:
        job_id, column, value = wrong[0]
        remedy = f"set column {column} of table jobs to epoch seconds with sqlite3, or delete the job"
        return f"{len(wrong)} invalid: {column} of job {job_id} is {value!r:.20}", remedy
    return "valid", ""


def _settings(store: Store) -> Result:
    try:
        store.settings.read()
    except InvalidSetting as error:
        return str(error).partition(";")[0], f"queuectl config unset {error.key}{db_option(store)}"
    return "valid", ""


def _workers(store: Store) -> Result:
    """Check for dead workers that still hold jobs; any running worker would have cleaned up after them."""
    rows = store.workers.list_all()
    lost = [row.name for row in rows if heartbeat.is_dead(store.worker_dir, row)]
    lost += store.workers.orphaned_workers()
    if lost:
        remedy = f"start a worker ('queuectl worker start{db_option(store)}') to recover their jobs"
        return f"lost, not cleaned up: {', '.join(dict.fromkeys(lost))}", remedy
    return f"{len(rows)} live", ""


def _free_pages(store: Store) -> Result:
    """Return how much of the file is free; that is not a problem, since new jobs use it first."""
    space = read_space(store.db)
    size, free = (format_size(each) for each in (space.size, space.free))
    how = f"; 'queuectl prune --vacuum{db_option(store)}' gives them back" if space.free > KEPT_BYTES else ""
    return f"{size}, of which {space.free_pages} pages ({free}) are free{how}", ""


def _spool(store: Store, checks: Checks) -> Result:
    """Check the size of the spool, and for output of deleted jobs."""
    tokens = store.spool.tokens()
    orphans = tokens - checks.known_tokens(tokens) - {row.name for row in store.workers.list_all()}
    text = f"{format_size(store.spool.disk_usage())}, {len(tokens)} attempt(s)"
    if orphans:
        some = " ".join(f"{store.spool.folder / token}.*" for token in sorted(orphans)[:3])
        return f"{text}, {len(orphans)} of deleted jobs: {some}", f"rm -r {some}"
    return text, ""
