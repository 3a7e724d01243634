"""Whose file it is and which schema it has: made where it is missing, refused where it is not for us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "check_application", "ensure_schema", "is_current"]

APPLICATION_ID = 0x51637462
"""Marks a SQLite file as a queue of ours (``Qctb``), so that nobody's other database is written to."""
SCHEMA_VERSION = 1


def is_current(connection: sqlite3.Connection) -> bool:
    """Tell whether there is nothing to do: a queue with the present schema."""
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return application == APPLICATION_ID and version == SCHEMA_VERSION


def check_application(connection: sqlite3.Connection, path: Path) -> None:
    """Raise :class:`BadEnvironment` for a newer queue, and for a database that is no queue."""
    connection.execute("BEGIN")  # one moment: somebody may be making the schema right now
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    finally:
        connection.execute("COMMIT")
    if application == APPLICATION_ID and version > SCHEMA_VERSION:
        msg = (
            f"{path} was made by a newer queuectl (schema {version}, this one knows {SCHEMA_VERSION});"
            " upgrade with 'pip install -U queuectl-nb'"
        )
        raise BadEnvironment(msg)
    if application != APPLICATION_ID and (application or version or tables):
        msg = f"{path} is a SQLite database but no queue of queuectl; name another file with --db"
        raise BadEnvironment(msg)


def ensure_schema(
    connection: sqlite3.Connection, path: Path, journal: str, write_lock: Callable[[], AbstractContextManager[None]]
) -> None:
    """Bring the file to the present schema and ``journal`` mode; ``alone`` gives the write gate."""
    if is_current(connection) and _journal_mode(connection) == journal:
        return
    with write_lock():
        check_application(connection, path)
        if _journal_mode(connection) != journal:
            connection.execute(f"PRAGMA journal_mode = {journal}")
        if not is_current(connection):
            from queuectl_nb.store.migrations import migrate

            migrate(connection, APPLICATION_ID, SCHEMA_VERSION)


def _journal_mode(connection: sqlite3.Connection) -> str:
    mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
    return mode
