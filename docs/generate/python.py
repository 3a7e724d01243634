"""Tables of public Python names, with the first sentence of each docstring."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import queuectl_nb
from queuectl_nb.client.batch import Batch
from queuectl_nb.client.plot import Plot
from queuectl_nb.client.pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["members", "tables"]

CLASSES = (queuectl_nb.Queue, queuectl_nb.Job, Batch, WorkerPool, Plot)
"""The public classes, in the order of the page."""


def members(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the public methods and properties of a class with their first sentence."""
    seen = set()
    for base in kind.__mro__:
        for name, member in vars(base).items():
            public = not name.startswith("_") and base.__module__.startswith("queuectl_nb")
            documented = inspect.getdoc(member) if callable(member) or hasattr(member, "__get__") else None
            if public and documented and name not in seen:
                seen.add(name)
                yield name, documented.split("\n\n")[0]


def tables() -> str:
    """Return a table for each class."""
    parts = []
    for kind in CLASSES:
        rows = [f"| `{name}` | {_plain(does)} |" for name, does in members(kind)]
        first = _plain((inspect.getdoc(kind) or "").split("\n\n")[0])
        table = ["\n| name | description |", "| --- | --- |", *rows] if rows else []
        parts.append("\n".join([f"### `{kind.__name__}`\n\n{first}.", *table]))
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    """Return a sentence of a docstring as one line of Markdown."""
    text = " ".join(text.split()).replace("``", "`")
    for role in (":class:", ":meth:", ":data:"):
        text = text.replace(role, "")
    return text.replace("|", "\\|").rstrip(".")
