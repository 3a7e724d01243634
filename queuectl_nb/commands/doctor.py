"""``doctor``: check for problems and suggest fixes."""

from __future__ import annotations

from typing import Any

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.results import Listing
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.paths import find_queue

__all__ = ["command"]

FIELDS = ("check", "ok", "finding", "remedy")
COLUMNS = (("check", "check"), ("", "mark"), ("finding", "finding"), ("remedy", "remedy"))


@queuectl_command("doctor")
def command(context: Context) -> Listing:
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
        FIELDS,
        COLUMNS,
        lambda limit: rows[:limit],
        value=lambda: rows,
        data=lambda: [{field: row[field] for field in FIELDS} for row in rows],
        exit_code=0 if all(row["ok"] for row in rows) else BadEnvironment.exit_code,
    )
