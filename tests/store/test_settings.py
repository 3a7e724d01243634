"""Stored settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import BadInput, InvalidSetting
from queuectl_nb.model.settings import Settings

if TYPE_CHECKING:
    from queuectl_nb.store.store import Store

DEFAULTS = Settings.from_stored({})


def put(store: Store, key: str, value: object) -> None:
    """Store a value by hand."""
    with store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES (?, ?)", (key, value))


def test_set_and_unset(store: Store) -> None:
    """A setting is stored as parsed, replaced, and reset to its default; hyphens count as underscores."""
    assert store.settings.read() == DEFAULTS
    assert store.settings.set("max-retries", "7") == ("max_retries", 7)
    assert store.settings.set("max_retries", 8) == ("max_retries", 8)
    assert store.settings.set("backoff_base", "1.5") == ("backoff_base", 1.5)
    assert store.settings.read() == DEFAULTS._replace(max_retries=8, backoff_base=1.5)
    assert store.settings.unset("max-retries") == ("max_retries", 3)
    assert store.settings.read() == DEFAULTS._replace(backoff_base=1.5)


def test_refused_values_change_nothing(store: Store) -> None:
    """An invalid value and an unknown key are refused."""
    for key, value in (("max_retries", 0), ("nonsense", 1)):
        with pytest.raises(BadInput):
            store.settings.set(key, value)
    with pytest.raises(BadInput):
        store.settings.unset("nonsense")
    assert store.settings.read() == DEFAULTS


@pytest.mark.parametrize("value", ["0", b"\xff", b"x"])
def test_invalid_stored_values(store: Store, value: object) -> None:
    """What was edited by hand is named, and does not stop work that must go on; other bytes are not text."""
    put(store, "max_retries", value)
    with pytest.raises(InvalidSetting, match="max_retries"):
        store.settings.read()
    assert store.settings.read_valid() == DEFAULTS
    store.settings.set("max_retries", 4)
    assert store.settings.read() == store.settings.read_valid() == DEFAULTS._replace(max_retries=4)
