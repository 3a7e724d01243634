"""Estimates when the disk will be full, and suggests what to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queuectl_nb.client.hints import CONSOLE, db_option
from queuectl_nb.render.progress import format_size
from queuectl_nb.store.maintenance import DAY, read_growth

if TYPE_CHECKING:
    from queuectl_nb.store.maintenance import Growth
    from queuectl_nb.store.store import Store

__all__ = ["describe_growth", "disk_hints"]

HORIZON_S = 7 * DAY
"""A disk that is full later than this is not mentioned."""


def disk_hints(store: Store, program: str) -> list[str]:
    """Return that the disk will be full within days, with the command that helps; empty otherwise."""
    growth = _read(store)
    return ["; ".join(_describe(store, growth, program))] if growth.full_in_s <= HORIZON_S else []


def describe_growth(store: Store) -> tuple[str, str]:
    """Return how fast the queue grows, and what helps if the disk will be full within days."""
    return _describe(store, _read(store), CONSOLE)


def _read(store: Store) -> Growth:
    return read_growth(store.db, store.settings.read_valid(), time.time())


def _describe(store: Store, growth: Growth, program: str) -> tuple[str, str]:
    from humanize import naturaldelta  # slow to load: not for a status without a problem

    text = f"the queue grows by about {format_size(growth.bytes_per_s * DAY)} a day"
    if growth.full_in_s > HORIZON_S:
        return text, ""
    option, age = db_option(store), "1d" if growth.full_in_s > DAY else "1h"
    return f"{text}: the disk is full in {naturaldelta(growth.full_in_s)}", (
        f"delete old jobs with '{program} prune --older-than {age} --vacuum{option}', or let the workers do that with"
        f" '{program} config set retention {age}{option}'"
    )
