"""The texts of ``queuectl help``: Markdown files beside the code, of which site and man page are made, too."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["FOLDER", "TOPIC_NAMES", "names", "summary", "text"]

FOLDER = Path(__file__).resolve().parent.parent / "topics"
TOPIC_NAMES = (
    "states",
    "retries",
    "timeouts",
    "workers",
    "output",
    "settings",
    "environment",
    "files",
    "fields",
    "events",
    "exit-codes",
    "notebook",
    "web",
    "cluster",
    "limits",
)
"""In the order in which people meet them."""
_MARK = re.compile(r"<!--.*?-->\n*", re.DOTALL)


def names() -> list[str]:
    """Return the names of all topics."""
    return list(TOPIC_NAMES)


def text(name: str) -> str:
    """Return a topic as Markdown; the generator's marks are left out."""
    return _MARK.sub("", (FOLDER / f"{name}.md").read_text("utf-8"))


def summary(name: str) -> str:
    """Return what a topic is about: the first line below its title."""
    return text(name).split("\n", 3)[2]
