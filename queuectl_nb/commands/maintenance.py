"""``init``, ``backup``, ``prune`` and ``doctor``: maintain the files of the queue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client import job_actions
from queuectl_nb.client.enqueue import current_dir
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import FILE, Choice, Parsed
from queuectl_nb.commands.results import Listing
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadEnvironment, BadInput
from queuectl_nb.model.state import FINISHED_STATES, State
from queuectl_nb.render.progress import format_size
from queuectl_nb.store.maintenance import read_space
from queuectl_nb.store.paths import FILE_NAME, PROJECT_DIR, find_queue
from queuectl_nb.store.queue_files import make_private_dir

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store

__all__ = ["backup_command", "doctor_command", "init_command", "prune_command"]

FINISHED_STATE = Choice("finished state", [state for state in State if state in FINISHED_STATES])
DOCTOR_FIELDS = ("check", "ok", "finding", "remedy")
DOCTOR_COLUMNS = (("check", "check"), ("", "mark"), ("finding", "finding"), ("remedy", "remedy"))


@queuectl_command("init", db_options=False)
def init_command(context: Context) -> Done:
    """Create a queue in .queuectl/ in this directory.

    Commands in this directory and below use it from then on.
    """
    if context.db is not None:
        msg = "init creates .queuectl/ in this directory; a queue named with --db is created when it is first used"
        raise BadInput(msg)
    folder = Path(current_dir()) / PROJECT_DIR
    path = folder / FILE_NAME
    existed = path.exists()
    make_private_dir(folder)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        try:
            ignore.touch(0o600)
            ignore.write_text("*\n", "utf-8")  # a queue does not belong in version control
        except OSError as error:
            raise BadEnvironment(f"cannot write {ignore}: {error.strerror}") from error
    context.db = str(path)
    context.queue(create=True)
    line = f"Queue already exists: {path}" if existed else f"Queue created: {path}"
    return Done([line], lambda: {"path": str(path)})


@queuectl_command("backup", examples=["queuectl backup /backups/queue.db"])
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def backup_command(context: Context, file: str, *, force: bool) -> Done:
    """Write a copy of the queue to FILE.

    The copy is consistent even while workers run. It contains neither artifacts nor output longer than
    output_limit.
    """
    from queuectl_nb.store.backup import write_backup

    store = context.queue().store
    path, jobs = write_backup(store.db, file, force=force)
    line = f"Backup written: {file} ({jobs} {'job' if jobs == 1 else 'jobs'})"
    return Done([line], lambda: {"path": str(path), "jobs": jobs}, lambda: path, notes=lambda: _missing(store))


def _missing(store: Store) -> list[str]:
    """Say that artifacts are not in the copy."""
    from queuectl_nb.store.artifacts import count_artifacts

    attempts, _, size = count_artifacts(store.db)
    if not attempts:
        return []
    from queuectl_nb.render.progress import format_size

    which = f"{attempts} attempt{'' if attempts == 1 else 's'} ({format_size(size)})"
    return [f"the artifacts of {which} are not in the backup; copy {store.spool.folder}/*.artifacts to keep them"]


@queuectl_command("prune", examples=["queuectl prune --older-than 7d --state completed", "queuectl prune --vacuum"])
@click.option(
    "--older-than",
    type=Parsed("AGE", validation.parse_age),
    help="Minimum age since the job finished: 7d, 12h, 90m, 30s or 0.",
)
@click.option("--state", type=FINISHED_STATE, help="Delete only jobs in this state.")
@click.option("--vacuum", is_flag=True, help="Shrink the file; without --older-than, do only that.")
@click.option("--dry-run", is_flag=True, help="Change nothing; show how many jobs would be removed.")
def prune_command(
    context: Context, *, older_than: float | None, state: str | None, vacuum: bool, dry_run: bool
) -> Done:
    """Delete finished jobs older than a given age, and shrink the file.

    Their history is deleted, too. Without --vacuum, running workers shrink the file while no job waits.
    """
    if older_than is None and (not vacuum or state is not None):
        raise BadInput("--older-than must be given, such as --older-than 7d; only --vacuum alone works without it")
    store = context.queue().store
    removed, freed = job_actions.prune(store, older_than, state, vacuum=vacuum, dry_run=dry_run)
    lines = [f"{removed} job(s) {'would be ' if dry_run else ''}removed."] if older_than is not None else []
    data = {"removed": removed}
    if vacuum and dry_run:
        lines.append("The file would be shrunk.")
    elif vacuum:
        size = format_size(read_space(store.db).size)
        lines.append(f"File shrunk by {format_size(freed)} to {size}.")
        data["freed_bytes"] = freed
    return Done(lines, lambda: data)


@queuectl_command("doctor")
def doctor_command(context: Context) -> Listing:
    """Check for problems and suggest fixes.

    Checks file system, file modes, SQLite, interpreter, schema, counts, times, settings, workers, spool, free space and
    growth. The exit code is 3 if there is a problem.
    """
    from queuectl_nb.client.doctor import run_checks

    found = run_checks(find_queue(context.db), context.queue, allow_network_fs=context.allow_network_fs)
    rows: list[dict[str, Any]] = [
        {"check": name, "ok": not remedy, "finding": finding, "remedy": remedy, "mark": "wrong" if remedy else "ok"}
        for name, (finding, remedy) in found
    ]
    return Listing(
        DOCTOR_FIELDS,
        DOCTOR_COLUMNS,
        lambda limit: rows[:limit],
        value=lambda: rows,
        data=lambda: [{field: row[field] for field in DOCTOR_FIELDS} for row in rows],
        exit_code=0 if all(row["ok"] for row in rows) else BadEnvironment.exit_code,
    )
