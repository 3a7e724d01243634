"""Times for users: local, without a zone, which the heading names."""

from __future__ import annotations

from datetime import datetime

__all__ = ["local_time", "zone_name"]


def zone_name() -> str:
    """Return the name of the current local zone, such as ``CET``."""
    return datetime.now().astimezone().tzname() or "local time"


def local_time(iso: str | None) -> str | None:
    """Return a time in JSON as local date and time, all of them in the zone that :func:`zone_name` returns."""
    zone = datetime.now().astimezone().tzinfo
    return None if iso is None else f"{datetime.fromisoformat(iso).astimezone(zone):%Y-%m-%d %H:%M:%S}"
