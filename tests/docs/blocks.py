"""The code blocks of a page, with the instructions for this test in HTML comments before them.

``<!-- not run: REASON -->`` skips the next block; ``<!-- needs: MODULE -->`` skips the page where the module is
missing; ``<!-- file: NAME -->`` saves it as a file; ``<!-- terminal -->`` runs its command in a second terminal, which
stays open; ``<!-- exit code: N -->`` is the exit code of its last command; ``<!-- output -->`` marks it as the output
of the previous block, ``<!-- terminal shows -->`` as output of the second terminal.
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
LANGUAGES = (*RUN, "text", "json", "yaml", "mermaid", "sql", "csv")
"""Allowed languages; any other could hide a block from the test."""
_MARK = re.compile(r"<!-- (not run|needs|file|terminal shows|terminal|exit code|output)(?:: (.*?))? -->", re.DOTALL)


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
        """Its position, for error messages."""
        return f"{self.page}:{self.line}"


@dataclass
class Command:
    """A command of a transcript with its output."""

    text: str
    shown: str


def blocks_of(path: Path) -> Iterator[Block]:
    """Yield the code blocks of a page in order."""
    marks: dict[str, str] = {}
    for token in MarkdownIt().parse(path.read_text("utf-8")):
        if token.type == "html_block":
            marks |= {name: text or "" for name, text in _MARK.findall(token.content)}
        elif token.type == "fence":
            line = (token.map or [0])[0] + 1
            yield Block(path.name, line, token.info.strip(), token.content, marks)
            marks = {}


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a transcript: lines after ``$``, continued after ``>``, followed by their output."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
            continue
        assert found, f"{block.where}: a transcript must start with a command"
        if line.startswith("> ") and not found[-1].shown:
            found[-1].text += "\n" + line[2:]
        else:
            found[-1].shown += line + "\n"
    return found
