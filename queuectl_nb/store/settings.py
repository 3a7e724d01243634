"""The stored settings; what they mean and may be is :mod:`queuectl_nb.model.settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.settings import Settings, Value, get_setting
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from queuectl_nb.store.connection import Database

__all__ = ["SettingsTable"]


class SettingsTable:
    """The ``settings`` table: only what differs from the defaults has a row."""

    def __init__(self, db: Database) -> None:
        """Work on ``db``."""
        self.db = db

    def read(self) -> Settings:
        """Return all settings as they are now; raise ``InvalidSetting`` for one edited into nonsense."""
        with self.db.read() as connection:
            return Settings.from_stored({key: _text(value) for key, value in connection.execute(Q.all_settings)})

    def set(self, key: str, value: object) -> tuple[str, Value]:
        """Store a checked value; return the key and the value as they are kept."""
        row = get_setting(key)
        parsed = row.parse(value)
        with self.db.write() as connection:
            connection.execute(Q.put_setting, {"key": row.key, "value": str(parsed)})
        return row.key, parsed

    def unset(self, key: str) -> tuple[str, Value]:
        """Go back to the default; return the key and that default."""
        row = get_setting(key)
        with self.db.write() as connection:
            connection.execute(Q.drop_setting, {"key": row.key})
        return row.key, row.default


def _text(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
