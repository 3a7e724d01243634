"""Checks of the database file: integrity, schema, and whether the job counts are right."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from queuectl_nb.model.job import TIME_FIELDS
from queuectl_nb.model.times import MAX_TIME
from queuectl_nb.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from queuectl_nb.store.connection import Database

__all__ = ["MIN_SQLITE_VERSION", "SQLITE_VERSION", "Checks"]

MIN_SQLITE_VERSION = (3, 38, 0)
"""The first version with built-in JSON functions, which the schema uses."""
SQLITE_VERSION: tuple[int, ...] = sqlite3.sqlite_version_info
"""The version of the SQLite library in use."""


class Checks:
    """Checks of a queue's file."""

    def __init__(self, db: Database) -> None:
        """Check ``db``."""
        self._query = db.query

    def integrity_errors(self) -> list[str]:
        """Return the errors that ``PRAGMA integrity_check`` finds, or should find."""
        found = [line for (line,) in self._query("PRAGMA integrity_check")]
        return self.partial_index_errors() if found == ["ok"] else found

    def partial_index_errors(self) -> list[str]:
        """Return which partial indexes have more or fewer entries than rows; SQLite 3.53 does not count them."""
        sql = """
            SELECT each.name, each.tbl_name, each.sql
            FROM sqlite_schema AS each JOIN pragma_index_list(each.tbl_name) AS listed ON listed.name = each.name
            WHERE listed.partial
        """
        errors = []
        for name, table, definition in self._query(sql):
            condition = definition.partition("WHERE")[2]
            count = f"SELECT count(*) FROM {table} {{}} WHERE {condition}"
            if self._query(count.format(f"INDEXED BY {name}")) != self._query(count.format("NOT INDEXED")):
                errors.append(f"wrong # of entries in index {name}")
        return errors

    def missing_objects(self) -> list[str]:
        """Return tables, views and indexes of the current schema that the file lacks."""
        from sqlite_utils import Database as Tables

        from queuectl_nb.store.migrations import migrations

        sql = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_%' ESCAPE '\\'"
        with closing(Tables(memory=True)) as fresh:
            migrations.apply(fresh)
            expected = {name for (name,) in fresh.execute(sql)}
        return sorted(expected - {name for (name,) in self._query(sql)})

    def schema_versions(self) -> tuple[int, int]:
        """Return the file's schema version, and that of this code."""
        ((version,),) = self._query("PRAGMA user_version")
        return version, SCHEMA_VERSION

    def tally_mismatches(self) -> list[str]:
        """Return the queues and states whose count in ``tally`` is wrong; reads all jobs."""
        sql = """
            SELECT queue || ' ' || state FROM (
                SELECT queue, state, n FROM tally WHERE n > 0
                UNION ALL
                SELECT queue, state, -count(*) FROM jobs GROUP BY queue, state
            ) GROUP BY queue, state HAVING sum(n) <> 0
        """
        return [name for (name,) in self._query(sql)]

    def invalid_times(self) -> list[tuple[str, str, object]]:
        """Return id, column and value of the times of jobs that cannot be displayed; reads all jobs."""
        each = "SELECT id, {0!r}, {0} FROM jobs WHERE NOT {0} BETWEEN 0 AND {1!r}"
        return self._query(" UNION ALL ".join(each.format(column, MAX_TIME) for column in TIME_FIELDS))

    def known_tokens(self, tokens: set[str]) -> set[str]:
        """Return those of ``tokens`` that belong to an attempt."""
        return {token for (token,) in self._query("SELECT token FROM attempts") if token in tokens}

    def journal_mode(self) -> str:
        """Return the journal mode: ``wal``, or ``delete`` on a network file system."""
        ((mode,),) = self._query("PRAGMA journal_mode")
        return str(mode)
