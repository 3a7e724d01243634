"""Which files are generated, whole or between two marks, and what they should hold.

The topics of ``queuectl help`` come first: their tables are filled in; reference pages and the man page are made of
them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from docs.generate import cli, fields, man, openapi, python, schemas, tables
from queuectl_nb.commands.help import FOLDER, TOPIC_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NOTE", "ROOT", "expected"]

ROOT = Path(__file__).resolve().parents[2]
NOTE = "<!-- Made by `python -m docs.generate`; change the code, not this. -->\n\n"
TOPIC_NOTE = "<!-- Made by `python -m docs.generate` from queuectl_nb/topics/{name}.md; change that, not this. -->\n\n"

TOPIC_PARTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "states": {"takes": tables.takes},
    "settings": {"settings": tables.settings},
    "exit-codes": {"exit-codes": tables.exit_codes},
    "fields": {"fields": fields.sections},
    "events": {"events": fields.event_sections},
    "web": {"api": openapi.table},
}
PARTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {"verbs": tables.verbs, "states": tables.states, "topics": tables.topics},
    "docs/explanation/life-of-a-job.md": {"states": tables.diagram},
    "docs/explanation/speed.md": {"figures": tables.figures},
    "docs/reference/python.md": {"python": python.tables},
}


def expected() -> dict[Path, str]:
    """Return every generated file with what it should hold."""
    topics = {name: filled(FOLDER / f"{name}.md", TOPIC_PARTS.get(name, {})) for name in TOPIC_NAMES}
    found = {FOLDER / f"{name}.md": text for name, text in topics.items()}
    for name, text in topics.items():
        found[ROOT / f"docs/reference/{name}.md"] = TOPIC_NOTE.format(name=name) + without_marks(text)
    states = ROOT / "docs/reference/states.md"
    found[states] = found[states].rstrip() + "\n\n## The moves\n\n" + tables.diagram() + "\n"
    found[ROOT / "docs/reference/cli.md"] = NOTE + cli.reference()
    found[ROOT / "docs/man/queuectl.1"] = man.page({name: without_marks(text) for name, text in topics.items()})
    for name, text in schemas.files().items():
        found[ROOT / f"docs/reference/schemas/{name}"] = text
    found[ROOT / "queuectl_nb/web/openapi.json"] = openapi.file()
    for name, parts in PARTS.items():
        found[ROOT / name] = filled(ROOT / name, parts)
    return found


def filled(path: Path, parts: Mapping[str, Callable[[], str]]) -> str:
    """Return a file's text with what stands between its marks made anew."""
    text = path.read_text("utf-8")
    for mark, make in parts.items():
        pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
        if not pattern.search(text):
            msg = f"{path} has no place for {mark}"
            raise SystemExit(msg)
        made = make()
        text = pattern.sub(lambda match, made=made: f"{match[1]}\n{made}\n\n{match[2]}", text)
    return text


def without_marks(text: str) -> str:
    """Return a topic as it is read elsewhere: the marks taken out."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"<!-- /?[a-z-]+ -->\n", "", text))
