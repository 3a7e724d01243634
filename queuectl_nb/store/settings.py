"""Stored settings; their meanings and bounds are in :mod:`queuectl_nb.model.settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.errors import InvalidSetting
from queuectl_nb.model.settings import Settings, Value, get_setting
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuectl_nb.store.connection import Database

__all__ = ["SettingsTable"]


class SettingsTable:
    """The ``settings`` table, with a row for each setting that was set."""

    def __init__(self, db: Database) -> None:
        """Work on ``db``."""
        self.db = db

    def read(self) -> Settings:
        """Return all settings; raise ``InvalidSetting`` for an invalid stored value."""
        return self.parse(self.db.query(Q.all_settings))

    @staticmethod
    def parse(rows: Iterable[tuple[str, bytes]]) -> Settings:
        """Return the settings of rows of the table; raise ``InvalidSetting`` for an invalid value."""
        return Settings.from_stored({key: _text(value) for key, value in rows})

    def read_valid(self) -> Settings:
        """Return all settings; the defaults if one is invalid, for work that must continue anyway."""
        try:
            return self.read()
        except InvalidSetting:
            return Settings.from_stored({})

    def set(self, key: str, value: object) -> tuple[str, Value]:
        """Validate and store a value; return the key and the value as stored."""
        row = get_setting(key)
        parsed = row.parse(value)
        with self.db.write() as connection:
            connection.execute(Q.put_setting, {"key": row.key, "value": str(parsed)})
        return row.key, parsed

    def unset(self, key: str) -> tuple[str, Value]:
        """Reset a setting; return the key and its default."""
        row = get_setting(key)
        with self.db.write() as connection:
            connection.execute(Q.drop_setting, {"key": row.key})
        return row.key, row.default


def _text(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
