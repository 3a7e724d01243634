"""The blocks of a page that can be run, with what the page says about them in comments that no reader sees.

``<!-- not run: WHY -->`` leaves the next block out; ``<!-- file: NAME -->`` makes a file of it; ``<!-- terminal -->``
runs its command in a second terminal, which stays open; ``<!-- exit code: N -->`` is how its last command ends;
``<!-- output -->`` says that it shows what the block before it printed, ``<!-- terminal shows -->`` what the second
terminal shows by then. ``<!-- given: NAME: TEXT -->`` is a file that is there already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LANGUAGES", "RUN", "Block", "blocks_of", "commands_of"]

RUN = ("bash", "console", "python", "ipython")
LANGUAGES = (*RUN, "text", "json", "mermaid", "sql", "csv")
"""What a block may be; a page that calls a shell block otherwise could hide it from the test."""
_MARK = re.compile(r"<!-- (not run|file|terminal shows|terminal|given|exit code|output)(?:: (.*?))? -->", re.DOTALL)


@dataclass
class Block:
    """A fenced block: its language, text, line in the page, and marks."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page}:{self.line}"


@dataclass
class Command:
    """A command of a transcript, and what the page shows as its answer."""

    text: str
    shown: str


def blocks_of(path: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    marks: dict[str, str] = {}
    for token in MarkdownIt().parse(path.read_text("utf-8")):
        if token.type == "html_block":
            marks |= {name: text or "" for name, text in _MARK.findall(token.content)}
        elif token.type == "fence":
            line = (token.map or [0])[0] + 1
            yield Block(path.name, line, token.info.strip(), token.content, marks)
            marks = {}


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a transcript: lines after ``$``, continued after ``>``; the rest is their output."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
            continue
        assert found, f"{block.where}: a transcript begins with a command"
        if line.startswith("> ") and not found[-1].shown:
            found[-1].text += "\n" + line[2:]
        else:
            found[-1].shown += line + "\n"
    return found
