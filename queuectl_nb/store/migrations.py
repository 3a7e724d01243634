"""Schema migrations, as sqlite-utils migrations.

Imported only if a file is out of date: sqlite-utils imports pandas if it is installed, which takes a second. All steps
run in one transaction: processes that start together migrate once, and a kill leaves the old schema. Released steps
are never changed; ``PRAGMA user_version`` counts them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib import resources

from sqlite_utils import Database, Migrations

__all__ = ["migrate", "migrations", "step_0001_the_queue"]

migrations = Migrations("queuectl")


@migrations()
def step_0001_the_queue(db: Database) -> None:
    """Create the first schema: jobs, attempts, workers, settings, queues, tally, views."""
    for statement in _statements("0001_the_queue.sql"):
        db.execute(statement)


def migrate(connection: sqlite3.Connection, application_id: int, version: int) -> None:
    """Migrate the file to ``version``; the caller holds the write lock."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(Database(connection))
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(name: str) -> Iterator[str]:
    """Yield the statements of a step's file (``executescript`` would commit our transaction)."""
    lines: list[str] = []
    for line in resources.files(__package__).joinpath("steps", name).read_text("utf-8").splitlines():
        lines.append(line)
        if sqlite3.complete_statement("\n".join(lines)):
            yield "\n".join(lines)
            lines = []
