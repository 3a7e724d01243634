"""Loads the statements of ``queries.sql`` as attributes of :data:`Q`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

__all__ = ["Q", "load"]

_MARK = "-- name: "


def load() -> dict[str, str]:
    """Return the statements by name."""
    statements: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in Path(__file__).with_name("queries.sql").read_text("utf-8").splitlines():
        if line.startswith(_MARK):
            lines = statements.setdefault(line.removeprefix(_MARK).strip(), [])
        elif not line.startswith("--"):
            lines.append(line.strip())
    return {name: " ".join(line for line in body if line).rstrip(";") for name, body in statements.items()}


Q = SimpleNamespace(**load())
