"""The schema version of a file: created or migrated if needed, refused if the file is not a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "check_application", "ensure_schema", "is_current"]

APPLICATION_ID = 0x51637462
"""Marks a SQLite file as a queue (``Qctb``), so that no other database is written to."""
SCHEMA_VERSION = 1


def is_current(connection: sqlite3.Connection, journal: str) -> bool:
    """Return True for a queue with the current schema and this ``journal`` mode."""
    return _is_migrated(connection) and _pragma(connection, "journal_mode") == journal


def _is_migrated(connection: sqlite3.Connection) -> bool:
    found = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    return found == (APPLICATION_ID, SCHEMA_VERSION)


def check_application(connection: sqlite3.Connection, path: Path) -> None:
    """Raise :class:`BadEnvironment` for a queue of a newer version, or a database that is not a queue."""
    connection.execute("BEGIN")  # one snapshot: another process may be creating the schema
    try:
        application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    finally:
        connection.execute("COMMIT")
    if application == APPLICATION_ID and version > SCHEMA_VERSION:
        raise BadEnvironment(
            f"{path} was created by a newer queuectl (schema {version}, this one supports {SCHEMA_VERSION});"
            " upgrade with 'pip install -U queuectl-nb'"
        )
    if application != APPLICATION_ID and (application or version or tables):
        raise BadEnvironment(f"{path} is a SQLite database but not a queue; choose another file")


def ensure_schema(connection: sqlite3.Connection, path: Path, journal: str) -> None:
    """Create or migrate the schema and set the ``journal`` mode; the caller holds the write lock."""
    check_application(connection, path)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file; see maintenance.py
    if _pragma(connection, "journal_mode") != journal:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    if not _is_migrated(connection):
        from queuectl_nb.store.migrations import migrate

        migrate(connection, APPLICATION_ID, SCHEMA_VERSION)


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
