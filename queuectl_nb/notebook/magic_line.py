"""What stands behind ``%queuectl``: split as a shell would, filled from the notebook, made words for the tree."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.errors import BadInput
from queuectl_nb.notebook.python_cell import python_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["VALUED", "MagicLine", "read", "verb_of", "words_of"]

VALUED = ("--db",)
"""Options of the root that take the word after them."""
OWN = ("--command", "--from", "--")
"""Ways to say what runs, which a cell takes the place of."""
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::raw)?\}")


class MagicLine(NamedTuple):
    """A line as the user wrote it: words for the tree, names of variables to fill in, ``--python``."""

    words: list[str]
    names: list[str]
    python: bool


def read(text: str) -> MagicLine:
    """Split a line as a shell would, nothing expanded, and take out what only notebooks have."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        msg = f"the line cannot be split as a shell would: {str(error).lower()}"
        raise BadInput(msg) from None
    end = words.index("--") if "--" in words else len(words)
    kept: list[str] = []
    names: list[str] = []
    python = False
    ahead = iter(words[:end])
    for word in ahead:
        if word == "--var":
            names.append(next(ahead, ""))
        elif word.startswith("--var="):
            names.append(word.removeprefix("--var="))
        elif word == "--python":
            python = True
        else:
            kept.append(word)
    return MagicLine(kept + words[end:], names, python)


def verb_of(words: Sequence[str]) -> str | None:
    """Return the verb or noun of a line, which options of the root may stand before."""
    ahead = iter(words)
    for word in ahead:
        if word in VALUED:
            next(ahead, None)
        elif not word.startswith("-"):
            return word
    return None


def words_of(line: MagicLine, cell: str | None, namespace: Mapping[str, object]) -> list[str]:
    """Return the words that the tree carries out for a line and, under ``%%queuectl``, the cell below it."""
    values = {name: _value(name, namespace) for name in line.names}
    if cell is None:
        if line.python:
            msg = "--python runs a cell: write %%queuectl enqueue --python, and the code below it"
            raise BadInput(msg)
        return _filled(line.words, values) if values else line.words
    if {"--help", "-h"} & set(line.words):
        return line.words
    _check_cell(line.words, cell)
    words = _filled(line.words, values) if values else line.words
    # IPython ends each cell with a newline of its own
    text = cell.removesuffix("\n")
    if line.python:
        return [*words, "--command", python_command(text, values)]
    return [*words, "--command", _command(text, values)]


def _check_cell(words: Sequence[str], cell: str) -> None:
    """Refuse a cell where none is taken, and a second way to say what runs beside it."""
    verb = verb_of(words)
    if verb != "enqueue":
        msg = f"%%queuectl takes enqueue only; write %queuectl {verb or 'VERB'} with one %"
        raise BadInput(msg)
    if not cell.strip():
        msg = "the cell is empty; write below %%queuectl enqueue what is to run"
        raise BadInput(msg)
    for word in words:
        if word.partition("=")[0] in OWN or word.startswith("{"):
            msg = f"the cell says what runs; leave {word if word in OWN else word.partition('=')[0][:20]} out"
            raise BadInput(msg)


def _value(name: str, namespace: Mapping[str, object]) -> object:
    """Return a variable of the notebook."""
    if not name.isidentifier():
        msg = f"--var needs the name of a variable, not {name!a}"
        raise BadInput(msg)
    if name not in namespace:
        msg = f"--var {name}: the notebook has no variable of that name"
        raise BadInput(msg)
    return namespace[name]


def _filled(words: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Fill placeholders: in ``--command`` quoted for the shell, in other words, which no shell reads, as they are."""
    end = words.index("--") if "--" in words else len(words)
    filled: list[str] = []
    for place, word in enumerate(words):
        if place < end and word.lstrip().startswith("{") and ":" in word and '"' in word:
            msg = "--var does not fill JSON, whose braces are its own; use --command, a cell, or Queue.enqueue()"
            raise BadInput(msg)
        if place < end and word.startswith("--command="):
            filled.append("--command=" + _command(word.removeprefix("--command="), values))
        elif 0 < place < end and words[place - 1] == "--command":
            filled.append(_command(word, values))
        else:
            filled.append(_plain(word, values))
    return filled


def _command(text: str, values: Mapping[str, object]) -> str:
    """Return a command with its values quoted for the shell; without ``--var`` braces are the command's own."""
    if not values:
        return text
    from queuectl_nb.model.command_template import CommandTemplate

    return CommandTemplate(text).fill(values)


def _plain(word: str, values: Mapping[str, object]) -> str:
    """Return a word with its values as they stand."""
    from queuectl_nb.model.command_template import CommandTemplate

    return CommandTemplate(_PLACE.sub(_as_it_stands, word)).fill(values)


def _as_it_stands(found: re.Match[str]) -> str:
    return found[0] if found[1] is None else f"{{{found[1]}:raw}}"
