"""Checks of a queue and its environment, each with a suggested fix."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.model.errors import BadEnvironment, InvalidSetting, QueuectlError
from queuectl_nb.store.maintenance import MIN_SQLITE_VERSION, Maintenance, sqlite_version
from queuectl_nb.store.paths import SIDECAR_SUFFIXES, network_fs_type, spool_dir, user_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.queue import Queue

__all__ = ["Finding", "run_checks"]

MIN_FREE_BYTES = 64 * 1024 * 1024
"""Less free space than this is a problem."""
MIN_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; ``remedy`` is empty if it passed."""

    check: str
    ok: bool
    finding: str
    remedy: str = ""


def run_checks(path: Path, opener: Callable[[], Queue], *, allow_network_fs: bool = False) -> Iterator[Finding]:
    """Yield the findings about the queue at ``path``.

    ``opener`` opens it and is called only if the file exists. A network file system is a problem unless allowed.
    Checks that depend on a failed one are skipped.
    """
    yield _interpreter()
    yield _sqlite()
    yield _file(path)
    if not path.exists():
        return
    yield _file_system(path, allowed=allow_network_fs)
    yield _disk_space(path)
    yield _modes(path)
    try:
        queue = opener()
        maintenance = Maintenance(queue.store.db)
        damage = maintenance.integrity_errors()
    except QueuectlError as error:
        finding, _, remedy = str(error).partition("; ")
        yield Finding("opens", ok=False, finding=finding, remedy=remedy or "name another queue with --db")
        return
    yield _integrity(damage)
    if damage:
        return
    yield _schema(maintenance)
    yield _counts(maintenance)
    yield _times(maintenance)
    yield _settings(queue)
    yield _workers(queue)
    yield _spool(queue, maintenance)


def _interpreter() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    text = f"Python {version} at {sys.executable or 'an unknown path'}"
    if sys.version_info[:2] < MIN_PYTHON:
        return Finding("interpreter", ok=False, finding=text, remedy="use Python 3.11 or newer")
    if not sys.executable or not os.access(sys.executable, os.X_OK):
        remedy = "use an interpreter that is still installed; workers are started with it"
        return Finding("interpreter", ok=False, finding=text, remedy=remedy)
    return Finding("interpreter", ok=True, finding=text)


def _sqlite() -> Finding:
    version, oldest = sqlite_version(), ".".join(map(str, MIN_SQLITE_VERSION))
    text = f"SQLite {'.'.join(map(str, version))}"
    if version < MIN_SQLITE_VERSION:
        return Finding("SQLite", ok=False, finding=text, remedy=f"use a Python built with SQLite {oldest} or newer")
    return Finding("SQLite", ok=True, finding=text)


def _file(path: Path) -> Finding:
    """Check that the file exists, or can be created, and that SQLite can create files beside it."""
    exists = path.exists()
    folder = Path(os.path.realpath(path)).parent
    if not exists and not folder.exists() and _is_default(path):
        while not folder.exists():
            folder = folder.parent  # the first enqueue creates the missing ones
    if not folder.is_dir():
        remedy = "create it, or choose another file with --db"
        return Finding("file", ok=False, finding=f"there is no directory {folder} for the queue", remedy=remedy)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        remedy = "make it writable, or choose a queue in another directory with --db or QUEUECTL_DB"
        return Finding("file", ok=False, finding=f"the directory {folder} is not writable", remedy=remedy)
    text = str(path) if exists else f"{path} does not exist yet; the first enqueue creates it"
    return Finding("file", ok=True, finding=text)


def _is_default(path: Path) -> bool:
    try:
        return path == user_queue()
    except BadEnvironment:
        return False


def _file_system(path: Path, *, allowed: bool) -> Finding:
    kind = network_fs_type(path)
    if kind is None or allowed:
        return Finding("file system", ok=True, finding="local" if kind is None else f"network ({kind}), allowed")
    remedy = "move the queue to a local disk; or use it from one host only, with --allow-network-fs"
    return Finding("file system", ok=False, finding=f"network ({kind}): locks are not reliable", remedy=remedy)


def _disk_space(path: Path) -> Finding:
    import humanize

    free = shutil.disk_usage(path.parent).free
    text = f"{humanize.naturalsize(free, binary=True)} free"
    if free < MIN_FREE_BYTES:
        return Finding(
            "disk space", ok=False, finding=text, remedy="free some disk space; without it results cannot be recorded"
        )
    return Finding("disk space", ok=True, finding=text)


def _modes(path: Path) -> Finding:
    """Check that other users cannot read commands and output."""
    real = Path(os.path.realpath(path))
    places = [real, *(real.with_name(real.name + suffix) for suffix in SIDECAR_SUFFIXES), spool_dir(real)]
    for place in places:
        try:
            found = place.lstat()
        except FileNotFoundError:
            continue
        right = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid != os.geteuid():
            text = f"{place} belongs to user {found.st_uid}"
            return Finding("modes", ok=False, finding=text, remedy="chown it, or use another queue")
        if mode & ~right:
            return Finding("modes", ok=False, finding=f"{place} has mode {mode:04o}", remedy=f"chmod {right:o} {place}")
    return Finding("modes", ok=True, finding="private")


def _integrity(damage: list[str]) -> Finding:
    if damage:
        remedy = "stop the workers, then recover the readable data: sqlite3 FILE .recover | sqlite3 NEW"
        return Finding("integrity", ok=False, finding="; ".join(damage[:3]), remedy=remedy)
    return Finding("integrity", ok=True, finding="quick_check: ok")


def _schema(maintenance: Maintenance) -> Finding:
    version, known = maintenance.schema_versions()
    missing = maintenance.missing_objects()
    text = f"version {version} of {known}, journal {maintenance.journal_mode()}"
    if missing:
        remedy = "the schema was changed by hand; restore a backup, or move the jobs to a new queue"
        return Finding("schema", ok=False, finding=f"{text}; missing: {', '.join(missing)}", remedy=remedy)
    return Finding("schema", ok=True, finding=text)


def _counts(maintenance: Maintenance) -> Finding:
    wrong = maintenance.tally_mismatches()
    if wrong:
        remedy = "jobs were changed without the triggers; move the jobs to a new queue"
        return Finding("counts", ok=False, finding=f"differ from the jobs: {', '.join(wrong[:5])}", remedy=remedy)
    return Finding("counts", ok=True, finding="correct")


def _times(maintenance: Maintenance) -> Finding:
    """Check for times that were edited by hand to something that is none; listing the job fails."""
    wrong = maintenance.invalid_times()
    if wrong:
        job_id, column, value = wrong[0]
        text = f"{len(wrong)} invalid: {column} of job {job_id} is {value!r:.20}"
        remedy = f"set column {column} of table jobs to epoch seconds with sqlite3, or delete the job"
        return Finding("times", ok=False, finding=text, remedy=remedy)
    return Finding("times", ok=True, finding="valid")


def _settings(queue: Queue) -> Finding:
    try:
        queue.store.settings.read()
    except InvalidSetting as error:
        remedy = f"queuectl config unset {error.key}"
        return Finding("settings", ok=False, finding=str(error).partition(";")[0], remedy=remedy)
    return Finding("settings", ok=True, finding="valid")


def _workers(queue: Queue) -> Finding:
    """Check for dead workers that still hold jobs; any running worker would have cleaned up after them."""
    rows = queue.store.workers.list_all()
    lost = [row.name for row in rows if heartbeat.is_dead(queue.store.worker_dir, row)]
    lost += queue.store.workers.orphaned_workers()
    if lost:
        text = f"lost, not cleaned up: {', '.join(dict.fromkeys(lost))}"
        remedy = "start a worker ('queuectl worker start') to recover their jobs"
        return Finding("workers", ok=False, finding=text, remedy=remedy)
    return Finding("workers", ok=True, finding=f"{len(rows)} live")


def _spool(queue: Queue, maintenance: Maintenance) -> Finding:
    """Check the size of the spool, and for output of deleted jobs."""
    import humanize

    tokens = queue.store.spool.tokens()
    orphans = tokens - maintenance.known_tokens(tokens) - {row.name for row in queue.store.workers.list_all()}
    size = humanize.naturalsize(queue.store.spool.disk_usage(), binary=True)
    text = f"{size}, {len(tokens)} attempt(s)"
    if orphans:
        some = " ".join(f"{queue.store.spool.folder / token}.*" for token in sorted(orphans)[:3])
        return Finding(
            "spool", ok=False, finding=f"{text}, {len(orphans)} of deleted jobs: {some}", remedy=f"rm {some}"
        )
    return Finding("spool", ok=True, finding=text)
